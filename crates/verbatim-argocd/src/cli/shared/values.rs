//! What to write and what must run: the options of `override`, `deploy` and `prove`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use verbatim_console::Failure;
use verbatim_oci::{Digest, Reference};

use crate::judge::evidence::WantedImage;
use crate::overrides::values::{KustomizeImage, OverrideValues, SourceChoice, is_part_of_image};

/// Values
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Values")]
pub struct ValueArgs {
    /// Set a Helm parameter; tags and digests stay text (repeatable)
    #[arg(long, short = 'p', value_name = "NAME=VALUE", visible_alias = "parameter", value_parser = pair)]
    pub helm_set: Vec<(String, String)>,

    /// Set a Helm parameter as text (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub helm_set_string: Vec<(String, String)>,

    /// Set a Kustomize image (repeatable)
    #[arg(long, value_name = "[OLD=]NEW[:TAG][@DIGEST]")]
    pub kustomize_image: Vec<KustomizeImage>,

    /// Set a Helm parameter in a source, by its name or position (repeatable)
    #[arg(long, value_name = "SOURCE:NAME=VALUE", value_parser = in_source::<HelmPair>)]
    pub helm_set_in: Vec<(SourceChoice, HelmPair)>,

    /// Set a Kustomize image in a source, by its name or position (repeatable)
    #[arg(long, value_name = "SOURCE:IMAGE", value_parser = in_source::<KustomizeImage>)]
    pub kustomize_image_in: Vec<(SourceChoice, KustomizeImage)>,

    #[command(flatten)]
    source: SourceArgs,
}

/// A Helm parameter: `NAME=VALUE`.
#[derive(Clone, Debug)]
pub struct HelmPair {
    name: String,
    value: String,
}

impl FromStr for HelmPair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = pair(text)?;
        Ok(Self { name, value })
    }
}

/// `SOURCE:…`, where the source is a position from 1 or a name.
fn in_source<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<(SourceChoice, T), String> {
    let (source, rest) = text
        .split_once(':')
        .filter(|(source, _)| !source.is_empty())
        .ok_or("want SOURCE:…, for example 2:image.tag=1.0".to_owned())?;
    let source = match source.parse::<usize>() {
        Ok(0) => return Err("sources are counted from 1".to_owned()),
        Ok(position) => SourceChoice::Position(position),
        Err(_) => SourceChoice::Name(source.to_owned()),
    };
    Ok((source, rest.parse().map_err(|error: T::Err| error.to_string())?))
}

/// Source, if the application has several
#[derive(Clone, Debug, Default, Args)]
pub struct SourceArgs {
    /// Source by position, counted from 1
    #[arg(long, value_name = "N", conflicts_with = "source_name")]
    source_position: Option<usize>,

    /// Source by name
    #[arg(long, value_name = "NAME")]
    source_name: Option<String>,
}

impl SourceArgs {
    /// The source that is meant.
    pub(crate) fn choice(&self) -> SourceChoice {
        match (&self.source_name, self.source_position) {
            (Some(name), _) => SourceChoice::Name(name.clone()),
            (None, Some(position)) => SourceChoice::Position(position),
            (None, None) => SourceChoice::Auto,
        }
    }
}

impl ValueArgs {
    /// The override that is meant.
    ///
    /// # Errors
    ///
    /// If there is nothing to write, or one parameter is given twice.
    pub fn values(&self) -> Result<OverrideValues, Failure> {
        let values = self.some_values()?;
        if values.is_empty() {
            return Err(
                Failure::usage("nothing to write").hint("use --helm-set or --kustomize-image")
            );
        }
        Ok(values)
    }

    /// The override that is meant, which may be about nothing but a source.
    pub(crate) fn some_values(&self) -> Result<OverrideValues, Failure> {
        let typed = self.helm_set.iter().map(|(name, value)| (name, value, true));
        let texts = self.helm_set_string.iter().map(|(name, value)| (name, value, false));
        let source = self.source.choice();
        let mut values = of_source(source, typed.chain(texts), self.kustomize_image.iter())?;
        let helm = self.helm_set_in.iter().map(|(source, _)| source);
        let named = helm.chain(self.kustomize_image_in.iter().map(|(source, _)| source));
        let mut sources: Vec<&SourceChoice> = Vec::new();
        for source in named {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        for source in sources {
            let helm = self.helm_set_in.iter().filter(|(its, _)| its == source);
            let helm = helm.map(|(_, HelmPair { name, value })| (name, value, true));
            let images = self.kustomize_image_in.iter().filter(|(its, _)| its == source);
            let own = of_source(source.clone(), helm, images.map(|(_, image)| image))?;
            values.elsewhere.push(own);
        }
        Ok(values)
    }
}

/// What goes into one source: Helm parameters, each with whether it may be a boolean or a number, and Kustomize images.
fn of_source<'a>(
    source: SourceChoice,
    helm: impl Iterator<Item = (&'a String, &'a String, bool)>,
    images: impl Iterator<Item = &'a KustomizeImage>,
) -> Result<OverrideValues, Failure> {
    let mut values = OverrideValues { source, ..OverrideValues::default() };
    for (name, value, is_typed) in helm {
        // What is a part of an image stays as it is written: a tag `7` is no number.
        if is_typed && !is_part_of_image(name) {
            values.typed.insert(name.clone());
        }
        if values.helm.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::usage(format!("parameter {name} is given twice")));
        }
    }
    values.kustomize = images.cloned().collect();
    let mut names: Vec<_> = values.kustomize.iter().map(KustomizeImage::name).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::usage(format!("the image {} is given twice", twice[0])));
    }
    Ok(values)
}

/// Images to prove
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Proof")]
pub struct ImageArgs {
    /// Image that every container of its repository must run, with digest (repeatable)
    #[arg(long, value_name = "IMAGE@DIGEST")]
    pub image: Vec<Reference>,

    /// Another digest that nodes may report for it: of a platform manifest or a config
    #[arg(long, value_name = "DIGEST")]
    pub accept: Vec<Digest>,
}

impl ImageArgs {
    /// The images that are meant; without any, those whose digests are written out in `values`.
    ///
    /// # Errors
    ///
    /// If an image has no digest, or there is no image at all: only a digest can be proven.
    pub fn images(&self, values: Option<&OverrideValues>) -> Result<Vec<WantedImage>, Failure> {
        let mut images = Vec::new();
        for image in &self.image {
            let Some(digest) = image.digest else {
                return Err(Failure::usage(format!("{image} has no digest"))
                    .hint(format!("find it with `verbatim registry resolve {image}`")));
            };
            images.push(WantedImage::new(Some(image.repository.clone()), digest));
        }
        if images.is_empty() {
            let digests = values.map(OverrideValues::likely_digests).unwrap_or_default();
            images.extend(digests.into_iter().map(|digest| WantedImage::new(None, digest)));
        }
        match images.as_mut_slice() {
            [] => {
                return Err(Failure::usage("no digest given, and only a digest can be proven")
                    .hint("use --image REPOSITORY@sha256:…"));
            }
            // A flag does not say which kind of digest it is; both kinds are accepted alike.
            [only] => only.manifests.extend(&self.accept),
            _ if self.accept.is_empty() => {}
            _ => {
                return Err(Failure::usage("--accept works with one image, but there are several"));
            }
        }
        Ok(images)
    }
}

pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("want NAME=VALUE".into()),
    }
}

/// A duration: a number of seconds as in the argocd command line, or `90s`, `10m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| "want seconds, or 90s, 10m, 1h30m".to_owned())?;
    Duration::try_from(span).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        values: ValueArgs,
    }

    #[test]
    fn helm_set_types_all_but_parts_of_images() {
        let options = ["on=true", "image.tag=7"].map(|it| ["--helm-set", it]).concat();
        let texts = ["--helm-set-string", "off=false"];
        let line = ["verbatim-argocd"].iter().chain(&options).chain(&texts);
        let values = <Line as clap::Parser>::parse_from(line).values.values().unwrap();
        assert_eq!(values.helm.len(), 3);
        assert_eq!(values.typed, ["on".to_owned()].into());
    }

    #[test]
    fn values_name_the_source_that_they_go_into() {
        let options = ["2:image.digest=d", "2:on=true", "chart:image.tag=a:b=c"];
        let options = options.map(|it| ["--helm-set-in", it]).concat();
        let images = ["--kustomize-image-in", "3:web=r.example:5000/web:1"];
        let line = ["verbatim-argocd", "--helm-set", "image.tag=1"];
        let line = line.iter().chain(&options).chain(&images);
        let values = <Line as clap::Parser>::parse_from(line).values.values().unwrap();
        assert_eq!(values.helm["image.tag"], "1");
        let [second, chart, third] = &values.elsewhere[..] else { panic!("{values:?}") };
        assert_eq!(second.source, SourceChoice::Position(2));
        assert_eq!((second.helm.len(), second.typed.len()), (2, 1));
        assert_eq!(chart.source, SourceChoice::Name("chart".into()));
        assert_eq!(chart.helm["image.tag"], "a:b=c");
        assert_eq!(third.kustomize[0].to_string(), "web=r.example:5000/web:1");
        for wrong in ["image.tag=1", "0:a=1", ":a=1", "2:a"] {
            let line = ["verbatim-argocd", "--helm-set-in", wrong];
            assert!(<Line as clap::Parser>::try_parse_from(line).is_err(), "{wrong}");
        }
        let twice = ["2:a=1", "2:a=2"].map(|it| ["--helm-set-in", it]).concat();
        let line = ["verbatim-argocd"].iter().chain(&twice);
        assert!(<Line as clap::Parser>::parse_from(line).values.values().is_err());
    }

    #[test]
    fn durations_are_read() {
        let cases = [
            ("0", Ok(0)),
            ("600", Ok(600)),
            ("90s", Ok(90)),
            ("10m", Ok(600)),
            ("1h30m", Ok(5400)),
            ("-1s", Err("must not be negative")),
            ("soon", Err("want seconds, or 90s, 10m, 1h30m")),
        ];
        for (text, want) in cases {
            let got = duration(text).map(|duration| duration.as_secs());
            assert_eq!(got, want.map_err(str::to_owned), "{text}");
        }
    }
}
