//! A connection with the settings of a read session, for tests of values.

use export_stack::servers::postgres::Role;
use export_stack::shared::TestDatabase;
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};

pub(crate) async fn connect() -> PgConnection {
    let url = TestDatabase::new().await.unwrap().url(Role::Owner).await.unwrap();
    let mut connection = PgConnection::connect(url.expose_secret()).await.unwrap();
    let settings = "set TimeZone = 'UTC'; set DateStyle = 'ISO'; set IntervalStyle = 'postgres'; \
                    set extra_float_digits = 1; set bytea_output = 'hex'; set lc_monetary = 'C'";
    sqlx::raw_sql(settings).execute(&mut connection).await.unwrap();
    connection
}
