//! A platform names its users as it likes, and binds their ids as its library does.

use export_stack::{servers::postgres::Role, shared::TestDatabase};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::support::database::database;

async fn users(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select user_id from public.data_export_requests_effective order by requested_at, id")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn ids_of_every_type_are_taken_however_they_are_bound() {
    const INSERT: &str = "insert into public.data_export_requests (user_id) values ($1)";
    let owner = TestDatabase::new().await.unwrap().owner().await.unwrap();
    let uuid = Uuid::new_v4();
    // As typed values: sqlx and JDBC.
    sqlx::query(INSERT).persistent(false).bind(uuid).execute(&owner).await.unwrap();
    sqlx::query(INSERT).persistent(false).bind(7_i32).execute(&owner).await.unwrap();
    sqlx::query(INSERT).persistent(false).bind(8_i64).execute(&owner).await.unwrap();
    sqlx::query(INSERT).persistent(false).bind("usr_01H").execute(&owner).await.unwrap();
    // As a text that is cast: Prisma.
    let cast = "insert into public.data_export_requests (user_id) values (cast($1::text as uuid))";
    sqlx::query(cast).bind(uuid.to_string()).execute(&owner).await.unwrap();
    // As a text of unknown type: psql and Rails.
    let unknown = format!(
        "insert into public.data_export_requests (user_id) values ('{}'), ('9')",
        uuid.to_string().to_uppercase()
    );
    sqlx::raw_sql(AssertSqlSafe(unknown)).execute(&owner).await.unwrap();
    sqlx::raw_sql("insert into public.data_export_requests (user_id) values (10)")
        .execute(&owner)
        .await
        .unwrap();
    let mut found = users(&owner).await;
    let uuid = uuid.to_string();
    let mut expected = [&uuid, "7", "8", "usr_01H", &uuid, &uuid, "9", "10"].map(str::to_owned);
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    for wrong in [String::new(), "a\nb".to_owned(), "x".repeat(256)] {
        let error = sqlx::query(INSERT).persistent(false).bind(&wrong).execute(&owner).await.unwrap_err();
        assert_eq!(
            error.as_database_error().unwrap().constraint(),
            Some("data_export_requests_user"),
            "{wrong:?}"
        );
    }
}

#[tokio::test]
async fn an_older_installation_keeps_its_users_and_the_rights_on_the_view() {
    let owner = database().await.owner;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/exports");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let last = files.iter().position(|file| file.to_string_lossy().contains("users_of_any_type")).unwrap();
    let apply = async |files: &[std::path::PathBuf]| {
        for file in files {
            let sql = std::fs::read_to_string(file).unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&owner).await.unwrap();
        }
    };
    apply(&files[..last]).await;
    let user = Uuid::new_v4();
    sqlx::query("insert into public.data_export_requests (user_id) values ($1)")
        .bind(user)
        .execute(&owner)
        .await
        .unwrap();
    let read = Role::Read.name();
    let state = Role::State.name();
    let grants = format!(
        "grant select on public.data_export_requests_effective to {state} with grant option;
         grant select (id, status) on public.data_export_requests_effective to {read}"
    );
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(&owner).await.unwrap();
    let rights = async || {
        let rights: Vec<String> = sqlx::query_scalar(
            "select coalesce(a.attname, '') || ' ' || x.grantee::regrole || ' ' || x.privilege_type || ' ' || x.is_grantable
             from pg_class c
             left join lateral (select null::name as attname, c.relacl as acl
                 union all select t.attname, t.attacl from pg_attribute t where t.attrelid = c.oid) a on true,
                 aclexplode(a.acl) x
             where c.relname = 'data_export_requests_effective' order by 1",
        )
        .fetch_all(&owner)
        .await
        .unwrap();
        rights
    };
    let before = rights().await;
    assert!(before.len() > 3, "{before:?}");
    apply(&files[last..]).await;
    assert_eq!(rights().await, before);
    assert_eq!(users(&owner).await, [user.to_string()]);
}
