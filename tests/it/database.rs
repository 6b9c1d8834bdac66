//! A connection with the settings of a read session, for tests of values.

use sqlx::{Connection as _, PgConnection};

pub(crate) async fn connect() -> PgConnection {
    let url = std::env::var("EXPORT_TEST_DATABASE_URL").expect("EXPORT_TEST_DATABASE_URL names a database");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let settings = "set TimeZone = 'UTC'; set DateStyle = 'ISO'; set IntervalStyle = 'postgres'; \
                    set extra_float_digits = 1; set bytea_output = 'hex'; set lc_monetary = 'C'";
    sqlx::raw_sql(settings).execute(&mut connection).await.unwrap();
    connection
}
