use super::{variable::Bounds, *};

fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let pairs: Vec<(String, String)> =
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Config::from_lookup(&|name| pairs.iter().find(|(n, _)| n == name).map(|(_, text)| text.clone()))
}

#[test]
fn nothing_set_gives_the_defaults_that_the_table_names() {
    let config = read(&[]).unwrap();
    assert_eq!(config.slots, 8);
    assert_eq!(config.state_connections, 4);
    assert_eq!(config.source_connections, 8);
    assert_eq!(config.statement_timeout, Duration::from_secs(4 * 3600));
    assert_eq!(config.lease, Duration::from_secs(60));
    assert_eq!(config.defer_after, Duration::from_secs(1800));
    assert_eq!(config.sweep_min_age, Duration::from_secs(86_400));
    assert_eq!(config.put_limit, 16 << 20);
    assert_eq!(config.spool_quota, 20 << 30);
    assert_eq!((config.max_attempts, config.max_lost, config.deflate_level), (15, 20, 1));
    assert_eq!(config.heartbeat_throttle, Duration::from_secs(3));
    assert_eq!(config.task_queue, "exports");
}

/// Returns the values just outside of a variable's bounds.
fn beyond(bounds: Bounds) -> [String; 2] {
    let show = |least: i128, most: i128, unit: &str| [least - 1, most + 1].map(|n| format!("{n}{unit}"));
    match bounds {
        Bounds::None => [String::new(), String::new()],
        Bounds::Number(least, most) => show(least.into(), most.into(), ""),
        Bounds::Size(least, most) => show(least.into(), most.into(), "B"),
        Bounds::Time(least, most) => {
            show(least.as_millis().try_into().unwrap(), most.as_millis().try_into().unwrap(), "ms")
        }
    }
}

#[test]
fn both_extremes_of_every_variable_are_taken_and_one_beyond_each_is_refused() {
    let mut walked = 0;
    for variable in GROUPS.iter().flat_map(|group| group.variables) {
        let Some(extremes) = variable.bounds.show() else { continue };
        let name = variable.name;
        let taken = extremes.map(|text| {
            // The first entry of a name counts. The longest timeouts are useful only with the second entry.
            let config = read(&[(name, text.as_str()), ("EXPORT_STALL_TIMEOUT", "12h")]);
            format!("{:?}", config.unwrap_or_else(|error| panic!("{error}")))
        });
        assert_ne!(taken[0], taken[1], "{name} changes nothing");
        for text in beyond(variable.bounds) {
            let error = read(&[(name, text.as_str())]).expect_err(&format!("{name}={text}")).to_string();
            assert!(error.contains(name), "{error}");
        }
        if !variable.default.is_empty() {
            read(&[(name, variable.default)]).unwrap_or_else(|error| panic!("{error}"));
        }
        walked += 1;
    }
    assert_eq!(walked, 23, "a variable without bounds is a text");
}

#[test]
fn pools_grow_with_the_slots_until_they_are_set() {
    let config = read(&[("EXPORT_SLOTS", "64")]).unwrap();
    assert_eq!((config.state_connections, config.source_connections), (8, 64));
    let config = read(&[("EXPORT_SLOTS", "64"), ("EXPORT_SOURCE_CONNECTIONS", "3")]).unwrap();
    assert_eq!((config.state_connections, config.source_connections), (8, 3));
}

#[test]
fn one_error_names_every_mistake_with_its_remedy() {
    let error = read(&[
        ("EXPORT_SLOTS", "0"),
        ("EXPORT_LEASE", "60"),
        ("EXPORT_BUCKET", "s3://exports/"),
        ("EXPORT_SIGNING_ACCESS_KEY_ID", "AKIA1"),
        ("EXPORT_LOG_FORMAT", "xml"),
        ("EXPORT_HTTP_ADDR", "9464"),
    ])
    .unwrap_err();
    let text = error.to_string();
    assert_eq!(error.problems.len(), 6, "{text}");
    for part in [
        "EXPORT_SLOTS is 0: set it between 1 and 160",
        "EXPORT_LEASE is `60`: set a time such as 250ms, 30s, 5m or 24h, from 15s to 1h",
        "EXPORT_BUCKET is `s3://exports/`",
        "EXPORT_SIGNING_ACCESS_KEY_ID is set without EXPORT_SIGNING_SECRET_ACCESS_KEY",
        "EXPORT_LOG_FORMAT is `xml`: set auto, human or json",
        "EXPORT_HTTP_ADDR is `9464`: set an IP address and a port, such as 127.0.0.1:9464",
    ] {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

#[test]
fn what_a_command_needs_is_missed_by_name() {
    let config = read(&[]).unwrap();
    assert!(config.database_url().unwrap_err().to_string().contains("EXPORT_DATABASE_URL is not set"));
    let all = config.require_for_run().unwrap_err();
    assert_eq!(all.problems.len(), 3, "{all}");
}

#[test]
fn swapped_databases_are_noticed_by_their_roles() {
    let (state, read) = ("postgres://export_state:x@db/p", "postgres://export_read:x@db/p");
    let error = read_pair(read, state).unwrap_err().to_string();
    assert!(error.contains("exchange the two") && error.contains("EXPORT_SOURCE_URL"), "{error}");
    read_pair(state, read).unwrap();
}

fn read_pair(database: &str, source: &str) -> Result<Config, ConfigError> {
    read(&[("EXPORT_DATABASE_URL", database), ("EXPORT_SOURCE_URL", source)])
}

#[test]
fn bounds_that_depend_on_each_other_are_checked_together() {
    let error = read(&[("EXPORT_STALL_TIMEOUT", "1m"), ("EXPORT_STORE_ATTEMPT_TIMEOUT", "2m")]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("EXPORT_STALL_TIMEOUT is 1m: set it to 2m or more"), "{text}");
    assert!(text.contains("EXPORT_STORE_ATTEMPT_TIMEOUT"), "{text}");
    read(&[("EXPORT_STALL_TIMEOUT", "2m"), ("EXPORT_STORE_ATTEMPT_TIMEOUT", "2m")]).unwrap();
    assert!(read(&[("EXPORT_LEASE", "1s")]).unwrap_err().to_string().contains("between 15s and 1h"));
}

#[test]
fn no_secret_is_shown_in_debug_or_in_an_error() {
    let config = read(&[
        ("EXPORT_DATABASE_URL", "postgres://u:hunter2@db/x"),
        ("EXPORT_SIGNING_ACCESS_KEY_ID", "AKIA1"),
        ("EXPORT_SIGNING_SECRET_ACCESS_KEY", "hunter2"),
    ])
    .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(display_database(config.database_url().unwrap()), "db:5432/x as `u`");
    for wrong in ["mysql://u:hunter2@db/x", "hunter2#@:", "postgres://u:hun#ter2@db:x/y"] {
        let error = read(&[("EXPORT_DATABASE_URL", wrong)]).unwrap_err().to_string();
        assert!(!error.contains("ter2"), "{error}");
        assert!(error.contains("EXPORT_DATABASE_URL"), "{error}");
    }
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let config = read(&[("EXPORT_SLOTS", ""), ("EXPORT_S3_ENDPOINT", " ")]).unwrap();
    assert_eq!((config.slots, config.s3_endpoint), (8, None));
}

#[test]
fn a_misspelt_variable_is_noticed() {
    let names = ["EXPORT_SLOT", "EXPORT_SLOTS", "EXPORT_TEST_DATABASE_URL", "PATH"];
    assert_eq!(unknown_variables(names.iter().map(|n| (*n).to_owned())), ["EXPORT_SLOT"]);
}
