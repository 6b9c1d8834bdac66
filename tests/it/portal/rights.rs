//! Each role, each act, each scope: the answers are those of the one table in the code, which the document repeats.

use std::collections::BTreeMap;

use export_portal::rights::{Act, RIGHTS, Right, Role};
use export_stack::tools;
use reqwest::Response;
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    issuer_of::{Issuer, Key},
    portal_of::{Portal, code, read},
};

/// Whose export an act is about, seen from the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// The caller's own.
    Own,
    /// Of a member of the caller's organisation, who is named in the session of an admin.
    Member,
    /// Of somebody in another organisation.
    Other,
    /// There is none.
    Nothing,
}

const SCOPES: [Scope; 4] = [Scope::Own, Scope::Member, Scope::Other, Scope::Nothing];

/// The role that decides in this scope, if the caller has any there.
fn role_in(role: Role, scope: Scope) -> Option<Role> {
    match (scope, role) {
        (Scope::Nothing, _) => None,
        (_, Role::Service | Role::Operator) if scope != Scope::Own || role == Role::Service => Some(role),
        (Scope::Own, _) => Some(Role::Owner),
        (Scope::Member, Role::Admin | Role::Manager) => Some(role),
        _ => None,
    }
}

fn right(role: Role, act: Act) -> Right {
    let column = Act::ALL.iter().position(|other| *other == act).unwrap();
    RIGHTS.iter().find(|(other, _)| *other == role).unwrap().1[column]
}

/// The answers that are right with and without a reason.
fn expected(role: Role, scope: Scope, act: Act, impersonated: bool) -> [&'static [&'static str]; 2] {
    let allowed: &[&str] = match act {
        Act::See => &["200"],
        // Another test asked before, and the person may not ask so often.
        Act::Ask => &["202", "200", "429 too_soon", "429 too_many"],
        Act::Withdraw => &["204"],
        Act::Download => &["409 not_ready", "410 withdrawn"],
    };
    let unseen: &[&str] = if act == Act::Ask { &["403 not_allowed"] } else { &["404 not_found"] };
    let Some(role) = role_in(role, scope) else { return [unseen, unseen] };
    if impersonated && act != Act::See {
        return [&["403 impersonated"], &["403 impersonated"]];
    }
    match right(role, act) {
        Right::Yes => [allowed, allowed],
        Right::WithWhy => [allowed, &["422 invalid"]],
        Right::No | Right::IfAllowed => [&["403 not_allowed"], &["403 not_allowed"]],
    }
}

/// How the callers show who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Session,
    AccessToken,
}

struct Matrix {
    portal: Portal,
    _issuer: Issuer,
    tokens: BTreeMap<&'static str, String>,
    /// The export of each user.
    exports: BTreeMap<String, Uuid>,
}

/// The callers, each a user of organisation `a`: nobody calls so often that they are slowed down.
const CALLERS: [&str; 5] = ["owner", "manager", "admin", "operator", "acting"];

/// Whose export a caller's act is about.
fn user(caller: &str, scope: Scope) -> &str {
    match scope {
        Scope::Own => caller,
        Scope::Member => "member",
        Scope::Other => "other",
        Scope::Nothing => "nobody",
    }
}

impl Matrix {
    async fn new(by: By) -> Self {
        let key = Key::ed("ed");
        let issuer = Issuer::new(&[&key]).await;
        let portal = Portal::with(&issuer.settings()).await;
        let mut exports = BTreeMap::from([("nobody".to_owned(), Uuid::new_v4())]);
        let others = [("member", "a"), ("other", "b"), ("service", "a")];
        for (user, org) in CALLERS.map(|caller| (caller, "a")).into_iter().chain(others) {
            let token = portal.session(&json!({"user_id": user, "org_id": org})).await;
            exports.insert(user.to_owned(), portal.ask(&token).await);
        }
        let mut tokens = BTreeMap::new();
        for caller in CALLERS {
            let roles = match caller {
                "owner" => json!([]),
                "acting" => json!(["admin"]),
                role => json!([role]),
            };
            let members = if matches!(caller, "admin" | "acting") { json!(["member"]) } else { json!([]) };
            let mut body = json!({"user_id": caller, "org_id": "a", "roles": roles, "members": members});
            let token = match by {
                By::Session if caller == "acting" => {
                    body["acting"] = json!("staff 9");
                    portal.session(&body).await
                }
                By::Session => portal.session(&body).await,
                By::AccessToken => {
                    body["sub"] = body["user_id"].take();
                    let act = (caller == "acting").then(|| json!({"sub": "staff 9"}));
                    body["act"] = json!(act);
                    issuer.token(&key, body)
                }
            };
            tokens.insert(caller, token);
        }
        tokens.insert("service", portal.key.clone());
        Self { portal, _issuer: issuer, tokens, exports }
    }

    async fn call(&self, caller: &str, act: Act, scope: Scope, why: Option<&str>) -> Response {
        let (token, user) = (&self.tokens[caller], user(caller, scope));
        let id = self.exports[user];
        let query = why.map(|why| format!("?why={why}")).unwrap_or_default();
        let call = match act {
            Act::See => self.portal.get(&format!("/v1/exports/{id}"), token),
            Act::Ask => {
                let mut body = json!({"user_id": user});
                if let Some(why) = why {
                    body["why"] = json!(why);
                }
                self.portal.post("/v1/exports", token, &body)
            }
            Act::Withdraw => {
                let body = why.map_or_else(|| json!({}), |why| json!({ "why": why }));
                self.portal.post(&format!("/v1/exports/{id}/withdraw"), token, &body)
            }
            Act::Download => self.portal.get(&format!("/v1/exports/{id}/download{query}"), token),
        };
        call.header("x-request-id", "the-same").send().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_gets_in_every_scope_what_the_table_says() {
    for by in [By::Session, By::AccessToken] {
        Box::pin(walk(by)).await;
    }
}

async fn walk(by: By) {
    let matrix = Matrix::new(by).await;
    let mut walked = 0;
    for (role, _) in RIGHTS {
        for scope in SCOPES {
            // A withdrawal comes last, so that the other acts find a pending export.
            for act in [Act::See, Act::Ask, Act::Download, Act::Withdraw] {
                let [with, without] = expected(role, scope, act, false);
                // Whom a service key or an operator asks for is not known here.
                if scope == Scope::Nothing && act == Act::Ask {
                    continue;
                }
                for (why, right) in [(None, without), (Some("she-called"), with)] {
                    let got = code(matrix.call(role.as_str(), act, scope, why).await).await;
                    assert!(
                        right.contains(&got.as_str()),
                        "{by:?} {role:?} {act:?} {scope:?} {why:?}: {got}, not {right:?}"
                    );
                    walked += 1;
                }
                if role == Role::Admin {
                    let [with, _] = expected(role, scope, act, true);
                    let got = code(matrix.call("acting", act, scope, Some("x")).await).await;
                    assert!(
                        with.contains(&got.as_str()),
                        "{by:?} acting {act:?} {scope:?}: {got}, not {with:?}"
                    );
                }
            }
        }
    }
    assert_eq!(walked, 5 * (4 * 4 - 1) * 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_yours_and_what_does_not_exist_give_the_same_answer() {
    let matrix = Matrix::new(By::AccessToken).await;
    for act in [Act::See, Act::Withdraw, Act::Download] {
        for role in ["owner", "manager", "admin"] {
            let mut answers = Vec::new();
            for scope in [Scope::Other, Scope::Nothing] {
                let answer = matrix.call(role, act, scope, None).await;
                let mut headers: Vec<_> =
                    answer.headers().iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
                headers.retain(|header| !header.starts_with("date:"));
                headers.sort();
                answers.push((headers, read(answer).await));
            }
            assert_eq!(answers[0], answers[1], "{role} {act:?}");
            assert_eq!(answers[0].1.0, 404);
        }
    }
    let malformed = matrix.portal.get("/v1/exports/not-an-id", &matrix.tokens["owner"]);
    assert_eq!(code(malformed.send().await.unwrap()).await, "404 not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_downloads_only_where_it_is_allowed_and_with_a_reason_that_is_logged() {
    let portal = Portal::with(&[("EXPORT_PORTAL_ADMIN_DOWNLOADS", "true")]).await;
    let user = crate::support::installation_of::user(&portal.given.owner).await;
    let person = portal.session(&json!({"user_id": user.to_string(), "org_id": "a"})).await;
    let id = portal.ask(&person).await;
    portal.fulfil(id).await;
    let admin = portal.session(&json!({"user_id": "7", "org_id": "a", "roles": ["admin"]})).await;
    let path = format!("/v1/exports/{id}/download");
    assert_eq!(code(portal.get(&path, &admin).send().await.unwrap()).await, "422 invalid");
    let asked = portal.get(&format!("{path}?why=a+court+asks"), &admin).send().await.unwrap();
    assert_eq!(code(asked).await, "302");
    let manager = portal.session(&json!({"user_id": "8", "org_id": "a", "roles": ["manager"]})).await;
    assert_eq!(code(portal.get(&path, &manager).send().await.unwrap()).await, "403 not_allowed");
    let acting = json!({"user_id": user.to_string(), "org_id": "a", "acting": "staff 9"});
    let acting = portal.session(&acting).await;
    assert_eq!(code(portal.get(&path, &acting).send().await.unwrap()).await, "403 impersonated");
    let logged: Vec<(String, String, Option<String>, Option<String>)> = sqlx::query_as(
        "select action, actor_as, actor, why from public.data_export_accesses where request_id = $1 order by id",
    )
    .bind(id)
    .fetch_all(&portal.given.owner)
    .await
    .unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        logged,
        [
            ("asked".to_owned(), "owner".to_owned(), None, None),
            ("linked".to_owned(), "admin".to_owned(), text("7"), text("a court asks")),
            ("refused".to_owned(), "manager".to_owned(), text("8"), None),
            ("refused".to_owned(), "owner".to_owned(), text("staff 9"), None),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_at_a_person_by_asking_for_them_or_by_asking_again() {
    let portal = Portal::with(&[("EXPORT_PORTAL_ADMIN_DOWNLOADS", "true")]).await;
    let session = async |body: serde_json::Value| portal.session(&body).await;
    // Somebody who has left: their export of then is not repeated by the admin, who may not ask for them now.
    let left = session(json!({"user_id": "left", "org_id": "a"})).await;
    let id = portal.ask(&left).await;
    portal.edit(id, "status = 'failed', failure_reason = 'attempts_exhausted', pseudonym_salt = null").await;
    let admin = session(json!({"user_id": "1", "org_id": "a", "roles": ["admin"], "members": ["2"]})).await;
    let retry = format!("/v1/exports/{id}/retry");
    let why = json!({"why": "an audit"});
    assert_eq!(code(portal.post(&retry, &admin, &why).send().await.unwrap()).await, "403 not_allowed");
    let (_, seen) = read(portal.get(&format!("/v1/exports/{id}"), &admin).send().await.unwrap()).await;
    assert_eq!(seen["may"], json!([]));
    // They repeat it themselves, in the name of nobody.
    let alone = session(json!({"user_id": "left"})).await;
    let (status, body) = read(portal.post(&retry, &alone, &json!({})).send().await.unwrap()).await;
    assert_eq!((status.as_u16(), &body["org_id"]), (202, &serde_json::Value::Null));
    // An operator who is an admin, too, does not become the admin of a stranger.
    let both = json!({"user_id": "3", "org_id": "a", "roles": ["admin", "operator"]});
    let both = session(both).await;
    let body = json!({"user_id": "stranger", "why": "a court asks"});
    let (status, body) = read(portal.post("/v1/exports", &both, &body).send().await.unwrap()).await;
    assert_eq!((status.as_u16(), &body["org_id"]), (202, &serde_json::Value::Null));
    let download = format!("/v1/exports/{}/download?why=x", body["id"].as_str().unwrap());
    assert_eq!(code(portal.get(&download, &both).send().await.unwrap()).await, "403 not_allowed");
}

#[test]
fn the_document_has_the_table_of_the_code() {
    let word = |right: Right| match right {
        Right::No => "no",
        Right::Yes => "yes",
        Right::WithWhy => "with a reason",
        Right::IfAllowed => "if the installation allows it, with a reason",
    };
    let document = std::fs::read_to_string(tools::root().join("docs/PORTAL.md")).unwrap();
    for (role, rights) in RIGHTS {
        let row = document.lines().find(|line| line.starts_with(&format!("| {} |", role.as_str())));
        let row = row.unwrap_or_else(|| panic!("docs/PORTAL.md has no row `{}`", role.as_str()));
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[2..6], rights.map(word), "{row}");
    }
}
