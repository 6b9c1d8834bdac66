//! The texts of the mails: one template for each topic and language, from which text and HTML are made.
//!
//! A template begins with `Subject: ` and a line, then an empty line and paragraphs. A paragraph whose second line is an
//! address becomes a link in the HTML; the first such one a button. So both forms always say the same.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, anyhow, bail};
use chrono::{DateTime, Utc};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context, value::Value};
use url::Url;
use uuid::Uuid;

use crate::outbox::{Notice, Topic};

/// The languages that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// German.
    De,
    /// French.
    Fr,
    /// Spanish.
    Es,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::En, Self::De, Self::Fr, Self::Es];

    /// Returns its code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Fr => "fr",
            Self::Es => "es",
        }
    }

    /// Finds the language of a locale such as `de`, `de-AT` or `de_AT.UTF-8`.
    pub fn of(locale: &str) -> Option<Self> {
        let code = locale.split(['-', '_', '.']).next().unwrap_or_default().trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|language| language.as_str() == code)
    }

    fn date(self, at: DateTime<Utc>) -> String {
        let (locale, format) = match self {
            Self::En => (chrono::Locale::en_GB, "%-d %B %Y, %H:%M UTC"),
            Self::De => (chrono::Locale::de_DE, "%-d. %B %Y, %H:%M UTC"),
            Self::Fr => (chrono::Locale::fr_FR, "%-d %B %Y à %H:%M UTC"),
            Self::Es => (chrono::Locale::es_ES, "%-d de %B de %Y, %H:%M UTC"),
        };
        at.format_localized(format, locale).to_string()
    }

    fn size(self, bytes: i64) -> String {
        let units = match self {
            Self::Fr => ["octets", "Ko", "Mo", "Go", "To"],
            _ => ["bytes", "kB", "MB", "GB", "TB"],
        };
        let bytes = bytes.max(0).unsigned_abs();
        let unit =
            (1..units.len()).rev().find(|unit| bytes >= 1000u64.pow(u32::try_from(*unit).unwrap_or(0)));
        let Some(unit) = unit else { return format!("{bytes} {}", units[0]) };
        let tenths = bytes / (1000u64.pow(u32::try_from(unit).unwrap_or(0)) / 10);
        let mark = if self == Self::En { '.' } else { ',' };
        match (tenths / 10, tenths % 10) {
            (whole, 0) => format!("{whole} {}", units[unit]),
            (whole, tenth) => format!("{whole}{mark}{tenth} {}", units[unit]),
        }
    }
}

/// The topics of which there are mails.
pub const TOPICS: [Topic; 4] = [Topic::Requested, Topic::Ready, Topic::Reminder, Topic::Failed];

const LAYOUT: &str = "layout.html";

const BUILTIN: [(&str, &str); 17] = [
    (LAYOUT, include_str!("templates/layout.html")),
    ("en/requested.txt", include_str!("templates/en/requested.txt")),
    ("en/ready.txt", include_str!("templates/en/ready.txt")),
    ("en/reminder.txt", include_str!("templates/en/reminder.txt")),
    ("en/failed.txt", include_str!("templates/en/failed.txt")),
    ("de/requested.txt", include_str!("templates/de/requested.txt")),
    ("de/ready.txt", include_str!("templates/de/ready.txt")),
    ("de/reminder.txt", include_str!("templates/de/reminder.txt")),
    ("de/failed.txt", include_str!("templates/de/failed.txt")),
    ("fr/requested.txt", include_str!("templates/fr/requested.txt")),
    ("fr/ready.txt", include_str!("templates/fr/ready.txt")),
    ("fr/reminder.txt", include_str!("templates/fr/reminder.txt")),
    ("fr/failed.txt", include_str!("templates/fr/failed.txt")),
    ("es/requested.txt", include_str!("templates/es/requested.txt")),
    ("es/ready.txt", include_str!("templates/es/ready.txt")),
    ("es/reminder.txt", include_str!("templates/es/reminder.txt")),
    ("es/failed.txt", include_str!("templates/es/failed.txt")),
];

/// A mail without its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The line that a list of mails shows.
    pub subject: String,
    /// The plain form.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// The templates, each of which has been rendered once.
#[derive(Clone, Debug)]
pub struct Templates {
    environment: Environment<'static>,
    product: String,
    page: Url,
}

impl Templates {
    /// Takes the templates that are compiled in, and those of `folder` in their place. Renders each of them, so that one
    /// that does not render is found at the start.
    ///
    /// `product` is how the platform calls itself; `page` is where a person sees their exports.
    pub fn new(folder: Option<&Path>, product: String, page: Url) -> Result<Self> {
        let mut texts: BTreeMap<&str, String> =
            BUILTIN.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        if let Some(folder) = folder {
            for (name, text) in &mut texts {
                let path = folder.join(name);
                match fs::read_to_string(&path) {
                    Ok(own) => *text = own,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(anyhow!("`{}` cannot be read: {error}", path.display())),
                }
            }
            refuse_others(folder, &texts)?;
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| match name {
            LAYOUT => AutoEscape::Html,
            _ => AutoEscape::None,
        });
        for (name, text) in texts {
            environment.add_template_owned(name, text).map_err(|error| explain(name, &error))?;
        }
        let templates = Self { environment, product, page };
        for language in Language::ALL {
            for topic in TOPICS {
                for sample in samples(topic) {
                    templates.render(&sample, language)?;
                }
            }
        }
        Ok(templates)
    }

    /// Renders a notice.
    pub fn render(&self, notice: &Notice, language: Language) -> Result<Rendered> {
        let name = format!("{}/{}.txt", language.as_str(), notice.topic.as_str());
        let place = |what: &str| {
            let mut url = self.page.clone();
            url.set_fragment(Some(&format!("{what}={}", notice.request_id)));
            url.to_string()
        };
        let values = context! {
            product => self.product.as_str(),
            page => self.page.as_str(),
            export => place("export"),
            not_me => place("not-me"),
            asked_as => notice.asked_as.as_str(),
            start => notice.start.as_str(),
            part => notice.is_part,
            reason => notice.reason.as_deref(),
            reference => export_activities::requests::reference(notice.request_id),
            requested_at => language.date(notice.requested_at),
            expires_at => notice.expires_at.map(|at| language.date(at)),
            size => notice.archive_bytes.map(|bytes| language.size(bytes)),
        };
        let template = self.environment.get_template(&name).map_err(|error| explain(&name, &error))?;
        let whole = template.render(values).map_err(|error| explain(&name, &error))?;
        let (head, text) =
            whole.split_once("\n\n").with_context(|| format!("template `{name}` has no text"))?;
        let subject = head.strip_prefix("Subject: ").map(str::trim).filter(|subject| !subject.is_empty());
        let Some(subject) = subject.filter(|subject| !subject.contains('\n')) else {
            bail!("template `{name}` does not begin with `Subject: ` and one line");
        };
        let text = text.trim();
        let paragraphs: Vec<_> = text.split("\n\n").map(paragraph).collect();
        let button = paragraphs.iter().position(|(_, url)| url.is_some());
        let paragraphs: Vec<_> = paragraphs.into_iter().map(|(text, url)| context! { text, url }).collect();
        let html = self.environment.get_template(LAYOUT).and_then(|layout| {
            layout.render(context! { lang => language.as_str(), subject, paragraphs, button })
        });
        let html = html.map_err(|error| explain(LAYOUT, &error))?;
        Ok(Rendered { subject: subject.to_owned(), text: format!("{text}\n"), html })
    }
}

/// Splits a paragraph whose second line is an address.
fn paragraph(text: &str) -> (&str, Option<Value>) {
    let link = text.split_once('\n').and_then(|(label, url)| {
        let url = Url::parse(url.trim()).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
        // Such an address contains no other character that HTML needs escaped. Some mail programs do not read an escaped slash.
        let url = Value::from_safe_string(url.as_str().replace('&', "&amp;"));
        Some((label.trim_end().trim_end_matches(':').trim_end(), Some(url)))
    });
    link.unwrap_or((text, None))
}

fn explain(name: &str, error: &minijinja::Error) -> anyhow::Error {
    let line = error.line().map(|line| format!(", line {line}")).unwrap_or_default();
    anyhow!("template `{name}`{line} does not render: {error}")
}

/// Refuses a file that no mail would use: its name is probably misspelt.
fn refuse_others(folder: &Path, known: &BTreeMap<&str, String>) -> Result<()> {
    let list = |folder: &Path| -> Result<Vec<_>> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("`{}` cannot be read", folder.display()))?;
        Ok(entries.collect::<Result<Vec<_>, _>>()?)
    };
    for entry in list(folder)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let names = match entry.path().is_dir() {
            true => list(&entry.path())?
                .iter()
                .map(|file| format!("{name}/{}", file.file_name().to_string_lossy()))
                .collect(),
            false => vec![name],
        };
        if let Some(other) = names.iter().find(|name| !known.contains_key(name.as_str())) {
            let known: Vec<_> = known.keys().copied().collect();
            bail!("`{other}` is no template; there are {}", known.join(", "));
        }
    }
    Ok(())
}

/// Notices of a topic, which between them have every value that a template may ask for.
fn samples(topic: Topic) -> Vec<Notice> {
    let at = DateTime::<Utc>::UNIX_EPOCH;
    let one = |asked_as: &str, start: &str, reason: &str| Notice {
        id: Uuid::nil(),
        channel: crate::outbox::Channel::Mail,
        topic,
        tries: 1,
        first_due_at: at,
        at,
        reason: Some(reason.to_owned()),
        archive_bytes: Some(1),
        archive_sha256: None,
        row_counts: None,
        scope: None,
        is_part: start == "at_once",
        request_id: Uuid::nil(),
        user_id: export_activities::user_id::UserId::forgotten(),
        org_id: None,
        asked_as: asked_as.to_owned(),
        start: start.to_owned(),
        requested_at: at,
        expires_at: Some(at),
        is_ready: true,
        is_collected: false,
    };
    vec![one("owner", "night", "attempts_exhausted"), one("admin", "at_once", "revoked")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(folder: Option<&Path>) -> Result<Templates> {
        Templates::new(folder, "Tom & Jerry".into(), Url::parse("https://app.example.com/exports").unwrap())
    }

    fn notice(topic: Topic) -> Notice {
        Notice {
            request_id: "0c7e4f1a-6f0c-4f7e-8d40-d2c1f2a8a111".parse().unwrap(),
            archive_bytes: Some(12_345_678),
            requested_at: "2026-11-26T09:05:00Z".parse().unwrap(),
            expires_at: Some("2026-12-04T01:00:30Z".parse().unwrap()),
            ..samples(topic).swap_remove(0)
        }
    }

    #[test]
    fn a_mail_says_what_happened_and_leads_to_the_page() {
        let ready = templates(None).unwrap().render(&notice(Topic::Ready), Language::En).unwrap();
        insta::assert_snapshot!(format!("{}\n\n{}", ready.subject, ready.text), @r#"
        The copy of your data is ready

        Hello,

        The copy of your data at Tom & Jerry that was asked for on 26 November 2026, 09:05 UTC is ready. Its size is 12.3 MB. You can download it until 4 December 2026, 01:00 UTC; then it is deleted.

        Go to your download:
        https://app.example.com/exports#export=0c7e4f1a-6f0c-4f7e-8d40-d2c1f2a8a111

        For your safety this mail holds no link to the data itself: you sign in first.

        Reference: 0C7E-4F1A
        "#);
        let german = templates(None).unwrap().render(&notice(Topic::Requested), Language::De).unwrap();
        insta::assert_snapshot!(format!("{}\n\n{}", german.subject, german.text), @r#"
        Eine Kopie Ihrer Daten wurde angefordert

        Guten Tag,

        in Ihrem Konto wurde am 26. November 2026, 09:05 UTC eine Kopie Ihrer Daten bei Tom & Jerry angefordert. Sie wird in der Nacht ab 01:00 UTC erstellt. Wir schreiben Ihnen, sobald sie bereitliegt.

        Ihre Exporte ansehen:
        https://app.example.com/exports#export=0c7e4f1a-6f0c-4f7e-8d40-d2c1f2a8a111

        Das waren nicht Sie? Öffnen Sie diese Seite, nehmen Sie die Anforderung zurück und ändern Sie Ihr Passwort:
        https://app.example.com/exports#not-me=0c7e4f1a-6f0c-4f7e-8d40-d2c1f2a8a111

        Vorgang: 0C7E-4F1A
        "#);
    }

    #[test]
    fn a_mail_says_that_only_a_part_was_asked_for() {
        let templates = templates(None).unwrap();
        for (language, sentences) in [
            (
                Language::En,
                [
                    "Only a part of the data was asked for.",
                    "It holds only the part of your data that was asked for.",
                ],
            ),
            (
                Language::De,
                [
                    "Angefordert wurde nur ein Teil der Daten.",
                    "Sie enthält nur den angeforderten Teil Ihrer Daten.",
                ],
            ),
            (
                Language::Fr,
                [
                    "Seule une partie des données a été demandée.",
                    "Elle ne contient que la partie demandée de vos données.",
                ],
            ),
            (
                Language::Es,
                [
                    "Solo se solicitó una parte de los datos.",
                    "Contiene solo la parte solicitada de sus datos.",
                ],
            ),
        ] {
            for (topic, sentence) in [Topic::Requested, Topic::Ready].into_iter().zip(sentences) {
                for is_part in [true, false] {
                    let mail = templates.render(&Notice { is_part, ..notice(topic) }, language).unwrap();
                    assert_eq!(mail.text.contains(sentence), is_part, "{}", mail.text);
                    assert!(!mail.text.contains("  "), "{}", mail.text);
                }
            }
        }
    }

    #[test]
    fn every_mail_has_its_links_in_both_forms_and_none_to_an_archive() {
        for language in Language::ALL {
            for topic in TOPICS {
                let mail = templates(None).unwrap().render(&notice(topic), language).unwrap();
                for form in [&mail.text, &mail.html] {
                    assert!(form.contains("https://app.example.com/exports"), "{language:?} {topic:?}");
                    assert!(form.contains("0C7E-4F1A"), "{language:?} {topic:?}");
                    assert!(
                        !form.contains("download_url") && !form.contains("X-Amz"),
                        "{language:?} {topic:?}"
                    );
                }
                assert!(mail.text.contains("Tom & Jerry") && mail.html.contains("Tom &amp; Jerry"));
                let outside = mail.html.matches("https://").count()
                    - mail.html.matches("https://app.example.com").count();
                assert_eq!(outside, 0, "a mail asks nothing of another server");
            }
        }
    }

    #[test]
    fn a_locale_leads_to_its_language() {
        for (locale, language) in [("de", "de"), ("de-AT", "de"), ("fr_CA.UTF-8", "fr"), ("ES", "es")] {
            assert_eq!(Language::of(locale).unwrap().as_str(), language);
        }
        assert!(Language::of("tlh").is_none() && Language::of("").is_none());
    }

    #[test]
    fn a_size_is_written_as_its_readers_write_it() {
        let sizes = [0, 999, 1000, 12_345_678, 1_000_000_000_000];
        assert_eq!(
            sizes.map(|size| Language::En.size(size)),
            ["0 bytes", "999 bytes", "1 kB", "12.3 MB", "1 TB"]
        );
        assert_eq!(Language::De.size(12_345_678), "12,3 MB");
        assert_eq!(Language::Fr.size(12_345_678), "12,3 Mo");
    }

    #[test]
    fn a_template_of_ones_own_is_taken_or_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir(folder.join("en")).unwrap();
        let own = |text: &str| {
            fs::write(folder.join("en/ready.txt"), text).unwrap();
            templates(Some(folder))
        };
        let taken = own("Subject: Fetch it\n\nIt is {{ size }}.\n").unwrap();
        assert_eq!(taken.render(&notice(Topic::Ready), Language::En).unwrap().text, "It is 12.3 MB.\n");
        for (text, part) in [
            ("Subject: Fetch it\n\n{{ sise }}\n", "`en/ready.txt`, line 3"),
            ("Subject: Fetch it\n\n{% if %}\n", "`en/ready.txt`"),
            ("Fetch it\n\nNow.\n", "Subject: "),
            ("Subject: Fetch it\n", "has no text"),
        ] {
            let refused = own(text).unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
        own("Subject: Fetch it\n\nNow.\n").unwrap();
        fs::write(folder.join("en/redy.txt"), "").unwrap();
        assert!(templates(Some(folder)).unwrap_err().to_string().contains("`en/redy.txt` is no template"));
    }
}
