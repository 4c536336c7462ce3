//! The macro in which a section states its keys, and the trait that it implements.

use super::{
    error::ConfigError,
    key::{KeyInfo, SectionInfo},
    raw::RawSection,
};

/// A section of the file. `section!` implements it.
pub(super) trait Section: Sized {
    /// The name, such as `chain`.
    const NAME: &'static str;
    /// What the section is about, line by line.
    const ABOUT: &'static [&'static str];

    /// Every key, in the order of the example file.
    fn keys() -> Vec<KeyInfo>;

    /// The checked settings of what was written.
    ///
    /// # Errors
    /// `Value` for a wrong value, or values that do not go together; `Missing` for a required key that is not written.
    fn read(raw: &RawSection<'_>) -> Result<Self, ConfigError>;

    /// Full names of the keys whose values differ from those of `older`, and take effect with a restart only.
    fn changed_for_a_restart(&self, older: &Self) -> Vec<String>;

    /// The description of the section.
    fn info() -> SectionInfo {
        SectionInfo { name: Self::NAME, about: Self::ABOUT, keys: Self::keys() }
    }
}

/// States a section: its struct of checked settings, its name in the file, and each key once.
///
/// ```ignore
/// section! {
///     /// What the section is about: the comment in the example file, and of the struct.
///     pub struct EngineSettings = "engine" {
///         /// What the key means, with its unit: the comment in the example file, and of the field.
///         queue: usize = whole(1..=1_000_000, "runs").default("64"),
///     }
///     check consistent
/// }
/// ```
///
/// To add a key, add such a line. It is then read from the file and from ORACULUM_ENGINE_QUEUE, checked, documented in what
/// `oraculum init` writes, and named when a change needs a restart (`.reloadable()` says that it does not). `consistent`,
/// which may be left out, checks what no key can say by itself. Without `pub`, the struct is one that exists already.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $settings:ident = $section:literal {
            $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $spec:expr),+ $(,)?
        }
        $(check $check:path)?
    ) => {
        $(#[doc = $about])+
        ///
        /// The fields' texts say how a key is written. What the fields hold is checked: amounts and prices are in wei, and
        /// paths start at the file's folder.
        #[derive(Clone, Debug, PartialEq)]
        pub struct $settings {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }

        section! {
            $(#[doc = $about])+
            struct $settings = $section {
                $($(#[doc = $doc])+ $key: $type = $spec),+
            }
            $(check $check)?
        }
    };
    (
        $(#[doc = $about:literal])+
        struct $settings:ident = $section:literal {
            $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $spec:expr),+ $(,)?
        }
        $(check $check:path)?
    ) => {
        impl $crate::config::section::Section for $settings {
            const NAME: &'static str = $section;
            const ABOUT: &'static [&'static str] = &[$($about),+];

            fn keys() -> Vec<$crate::config::key::KeyInfo> {
                vec![$({
                    let key: $crate::config::key::Key<$type> = $spec;
                    key.describe($section, stringify!($key), &[$($doc),+])
                }),+]
            }

            fn read(raw: &$crate::config::raw::RawSection<'_>) -> Result<Self, $crate::config::ConfigError> {
                let settings = Self {
                    $($key: {
                        let key: $crate::config::key::Key<$type> = $spec;
                        raw.read(stringify!($key), &key)?
                    },)+
                };
                $($check(&settings, raw)?;)?
                Ok(settings)
            }

            fn changed_for_a_restart(&self, older: &Self) -> Vec<String> {
                let mut changed = Vec::new();
                $({
                    let key: $crate::config::key::Key<$type> = $spec;
                    if !key.is_reloadable() && self.$key != older.$key {
                        changed.push(concat!($section, ".", stringify!($key)).to_owned());
                    }
                })+
                changed
            }
        }
    };
}

pub(super) use section;
