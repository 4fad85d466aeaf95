//! What is run, and where: the rows of the table belong to one scene each. Pure.

use std::fmt;

use test_registry::{Account, Auth, Bearer, Config};

use crate::cell::{Request, Service};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    /// `verbatim build`.
    Build,
    /// `verbatim promote dev`, which no gate guards.
    Promote,
    /// `verbatim promote staging`: only what was promoted to dev, runs there and was tested there may enter.
    PromoteGated,
    /// `verbatim test dev`.
    Test,
}

/// Which kind of registry there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    /// With the referrers API, and without a login.
    Plain,
    /// Without the referrers API: records are listed under a tag.
    FallbackTag,
    /// With a login that gives out tokens.
    Login,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scene {
    pub(crate) command: Command,
    pub(crate) setting: Setting,
}

impl Scene {
    pub(crate) const fn plain(command: Command) -> Self {
        Self { command, setting: Setting::Plain }
    }

    /// The services that are disturbed.
    pub(crate) fn services(self) -> &'static [Service] {
        match (self.command, self.setting) {
            (_, Setting::FallbackTag | Setting::Login) => &[Service::Registry],
            (Command::Build, Setting::Plain) => &[Service::Engine, Service::Registry],
            (_, Setting::Plain) => &[Service::Registry, Service::ArgoCd],
        }
    }

    /// Whether a request is disturbed here. What another scene has is left to it: this one only has the requests that it
    /// was made for.
    pub(crate) fn disturbs(self, request: &Request) -> bool {
        let shape = request.shape.as_str();
        match (self.command, self.setting) {
            // That there is no API is found out by whichever list is asked for first, and not again.
            (_, Setting::FallbackTag) => {
                shape.contains("FALLBACK") || shape.contains("/referrers/RELEASE")
            }
            (_, Setting::Login) => shape.contains("/token"),
            // From the first write on it is as in dev.
            (Command::PromoteGated, Setting::Plain) => !request.acting,
            _ => true,
        }
    }

    pub(crate) fn registry(self) -> Config {
        let account = Account { username: "bot".to_owned(), password: "pa?s?w??~>".to_owned() };
        match self.setting {
            Setting::Plain => Config::default(),
            Setting::FallbackTag => Config { referrers_api: false, ..Config::default() },
            Setting::Login => Config {
                auth: Auth::Bearer(Bearer {
                    account,
                    anonymous_pull: false,
                    lifetime: std::time::Duration::from_secs(300),
                }),
                ..Config::default()
            },
        }
    }

    /// The name of the file with the results.
    pub(crate) fn file(self) -> String {
        let command = match self.command {
            Command::Build => "build",
            Command::Promote => "promote",
            Command::PromoteGated => "promote-gated",
            Command::Test => "test",
        };
        let setting = match self.setting {
            Setting::Plain => "",
            Setting::FallbackTag => "-fallback-tag",
            Setting::Login => "-login",
        };
        format!("faults-{command}{setting}.md")
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.command {
            Command::Build => "`verbatim build`",
            Command::Promote => "`verbatim promote dev`",
            Command::PromoteGated => "`verbatim promote staging`, which has gates",
            Command::Test => "`verbatim test dev`",
        })?;
        f.write_str(match self.setting {
            Setting::Plain => "",
            Setting::FallbackTag => ", without the referrers API",
            Setting::Login => ", with a login",
        })
    }
}
