//! What the tests share: databases, installations, nights, archives and their readers.

pub(crate) mod accounts;
pub(crate) mod answers;
pub(crate) mod browser;
pub(crate) mod csv_reader;
pub(crate) mod database;
pub(crate) mod hostile;
pub(crate) mod installation_of;
pub(crate) mod issuer_of;
pub(crate) mod keys;
pub(crate) mod night_of;
pub(crate) mod notices_of;
pub(crate) mod portal_of;
pub(crate) mod provider_of;
pub(crate) mod read_session;
pub(crate) mod readers;
pub(crate) mod receiver;
pub(crate) mod sample;
pub(crate) mod servers;
pub(crate) mod studio;
pub(crate) mod watched;
