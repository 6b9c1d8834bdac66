//! Settings of Temporal's own configuration that the SDK ignores. `doctor` reports them.

use temporalio_client::envconfig::{ClientConfigProfile, LoadClientConfigProfileOptions};
use temporalio_common::envconfig::load_client_config_profile;

use super::explain::Explained;

/// Reads the profile and names the settings without effect. Connecting reports an unreadable profile.
pub fn without_effect(options: LoadClientConfigProfileOptions) -> Vec<Explained> {
    load_client_config_profile(options, None).map(|profile| judge(&profile)).unwrap_or_default()
}

fn judge(profile: &ClientConfigProfile) -> Vec<Explained> {
    let mut found = Vec::new();
    let tls = profile.tls.as_ref();
    if profile.codec.is_some() {
        found.push(Explained::new(
            "the remote codec (TEMPORAL_CODEC_ENDPOINT, `codec` of the profile) is not used here",
            "to encrypt payloads set EXPORT_CODEC_KEY_FILE; the setting still counts for the `temporal` CLI",
        ));
    }
    if tls.is_some_and(|tls| tls.disable_host_verification) {
        found.push(Explained::new(
            "the server's certificate is checked although TEMPORAL_TLS_DISABLE_HOST_VERIFICATION is set",
            "give its CA as TEMPORAL_TLS_SERVER_CA_CERT_PATH, and its name as TEMPORAL_TLS_SERVER_NAME",
        ));
    }
    let off = tls.is_some_and(|tls| tls.disabled == Some(true));
    let plain = profile.address.as_deref().is_some_and(|address| address.starts_with("http://"));
    if profile.api_key.is_some() && (off || plain) {
        found.push(Explained::new(
            "the API key goes over the network in plain text",
            "take away TEMPORAL_TLS=false, `tls.disabled` and `http://`: with an API key TLS is on by itself",
        ));
    } else if tls.is_some_and(|tls| tls.disabled != Some(true)) && plain {
        found.push(Explained::new(
            "the address starts with http://, so nothing is encrypted in spite of the TLS settings",
            "write the address as host:port",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use temporalio_common::envconfig::{ClientConfigCodec, ClientConfigTLS};

    use super::*;

    fn causes(profile: &ClientConfigProfile) -> Vec<String> {
        judge(profile).into_iter().map(|explained| explained.cause).collect()
    }

    #[test]
    fn an_ordinary_profile_with_tls_or_an_api_key_has_full_effect() {
        let tls = ClientConfigTLS::builder().server_name("temporal.example.com").build();
        let profile = ClientConfigProfile::builder().address("temporal.example.com:7233").tls(tls).build();
        assert!(causes(&profile).is_empty());
        assert!(causes(&ClientConfigProfile::builder().api_key("secret").build()).is_empty());
        assert!(causes(&ClientConfigProfile::builder().address("http://127.0.0.1:7233").build()).is_empty());
    }

    #[test]
    fn each_setting_without_effect_is_named_and_no_secret_is() {
        let codec = ClientConfigCodec::builder().endpoint("https://codec.example.com").auth("secret").build();
        let tls = ClientConfigTLS::builder().disable_host_verification(true).build();
        let profile = ClientConfigProfile::builder().codec(codec).tls(tls).api_key("secret");
        let all = causes(&profile.address("http://temporal.example.com:7233").build());
        assert_eq!(all.len(), 3, "{all:?}");
        for (cause, part) in all.iter().zip(["TEMPORAL_CODEC_ENDPOINT", "HOST_VERIFICATION", "plain text"]) {
            assert!(cause.contains(part) && !cause.contains("secret"), "{cause}");
        }
        let off = ClientConfigTLS::builder().disabled(true).build();
        let profile = ClientConfigProfile::builder().tls(off).api_key("secret").build();
        assert_eq!(causes(&profile), ["the API key goes over the network in plain text"]);
        let plain =
            ClientConfigProfile::builder().address("http://x:1").tls(ClientConfigTLS::default()).build();
        assert!(causes(&plain)[0].contains("http://"));
    }
}
