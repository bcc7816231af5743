use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Become, BecomeMethod, BecomeSpec, Context, Host, Result};

/// Whom commands on a host become: `true` for whom the host's connection names, else root through sudo; `false` for the one who
/// logs in; or a user of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum BecomeChoice {
    /// As the host says, or not at all.
    Switch(bool),
    /// This user.
    Spec(BecomeSpec),
}

impl BecomeChoice {
    /// Decides for a host, and resolves the password. Without a choice it is what the host's connection says.
    ///
    /// # Errors
    ///
    /// Those of [`Context::resolve`].
    pub async fn resolve(choice: Option<&Self>, cx: &Context, host: &Host) -> Result<Option<Become>> {
        let own = host.connection.r#become.as_ref();
        let spec = match choice {
            None => own.cloned(),
            Some(Self::Switch(false)) => None,
            Some(Self::Switch(true)) => Some(own.cloned().unwrap_or_default()),
            Some(Self::Spec(spec)) => Some(spec.clone()),
        };
        let Some(spec) = spec else { return Ok(None) };
        // sudo asks for the password of the one who logs in, whoever is to be become. su asks for that of the other one.
        let sudo = |s: &&BecomeSpec| s.method == BecomeMethod::Sudo;
        let shared = own.filter(sudo).filter(|_| sudo(&&spec)).and_then(|o| o.password.clone());
        let password = spec.password.or(shared);
        BecomeSpec { password, ..spec }.resolve(cx).await.map(Some)
    }
}

/// By hand: an untagged enum's errors say neither which field is unknown nor what was expected.
impl<'de> Deserialize<'de> for BecomeChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = BecomeChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false` or a mapping with `user`")
            }

            fn visit_bool<E>(self, yes: bool) -> Result<Self::Value, E> {
                Ok(BecomeChoice::Switch(yes))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                BecomeSpec::deserialize(MapAccessDeserializer::new(map)).map(BecomeChoice::Spec)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Secret, SecretRef};

    #[test]
    fn a_choice_is_a_switch_or_a_user() {
        let read = |v| serde_json::from_value::<BecomeChoice>(v);
        assert_eq!(read(json!(true)).unwrap(), BecomeChoice::Switch(true));
        let Ok(BecomeChoice::Spec(spec)) = read(json!({"user": "app"})) else { panic!("a user") };
        assert_eq!(spec.user, "app");
        assert!(read(json!({"usr": "app"})).unwrap_err().to_string().contains("unknown field `usr`"));
        assert!(read(json!("root")).unwrap_err().to_string().contains("a mapping with `user`"));
    }

    #[tokio::test]
    async fn the_host_says_whom_unless_there_is_a_choice() {
        let cx = Context::new();
        let mut host = Host::default();
        let who = async |choice: Option<BecomeChoice>, host: &Host| {
            BecomeChoice::resolve(choice.as_ref(), &cx, host).await.unwrap().map(|b| b.user)
        };
        assert_eq!(who(None, &host).await, None);
        assert_eq!(who(Some(BecomeChoice::Switch(true)), &host).await.as_deref(), Some("root"));
        host.connection.r#become = Some(BecomeSpec { user: "ops".into(), ..BecomeSpec::default() });
        assert_eq!(who(None, &host).await.as_deref(), Some("ops"));
        assert_eq!(who(Some(BecomeChoice::Switch(true)), &host).await.as_deref(), Some("ops"));
        assert_eq!(who(Some(BecomeChoice::Switch(false)), &host).await, None);
        let app = BecomeChoice::Spec(BecomeSpec { user: "app".into(), ..BecomeSpec::default() });
        assert_eq!(who(Some(app), &host).await.as_deref(), Some("app"));
    }

    #[tokio::test]
    async fn only_sudo_shares_a_password() {
        let cx = Context::builder().secret("own", Secret::new("the connection's")).build();
        let mut host = Host::default();
        for (of_host, of_step, shared) in [
            (BecomeMethod::Sudo, BecomeMethod::Sudo, true),
            (BecomeMethod::Su, BecomeMethod::Sudo, false),
            (BecomeMethod::Sudo, BecomeMethod::Su, false),
            (BecomeMethod::Su, BecomeMethod::Su, false),
        ] {
            let own =
                BecomeSpec { method: of_host, password: Some(SecretRef::Given("own".into())), ..BecomeSpec::default() };
            host.connection.r#become = Some(own);
            let spec = BecomeSpec { user: "app".into(), method: of_step, ..BecomeSpec::default() };
            let to = BecomeChoice::resolve(Some(&BecomeChoice::Spec(spec)), &cx, &host).await.unwrap().unwrap();
            assert_eq!(to.password.is_some(), shared, "{of_host:?} {of_step:?}");
            // Whom the connection names is become as it says.
            let own = BecomeChoice::resolve(Some(&BecomeChoice::Switch(true)), &cx, &host).await.unwrap().unwrap();
            assert!(own.password.is_some(), "{of_host:?}");
        }
    }
}
