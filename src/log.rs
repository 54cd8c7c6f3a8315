//! Shows what plugins log: errors and warnings, or what `$FUSION_LOG` asks for (`off`, `error`, `warn`, `info`, `debug`).

use std::io;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// From now on, log lines go to stderr, one each: the level, then `plugin` and the text.
pub(crate) fn show(colour: bool) {
    let level = match std::env::var("FUSION_LOG").as_deref().map(str::trim) {
        Ok("off") => LevelFilter::OFF,
        Ok("error") => LevelFilter::ERROR,
        Ok("info") => LevelFilter::INFO,
        Ok("debug") => LevelFilter::DEBUG,
        // A word that is none of these must not hide what a plugin warns of.
        _ => LevelFilter::WARN,
    };
    let lines = tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(io::stderr).without_time();
    let plugins = Targets::new().with_target("plugin", level);
    let shown = tracing_subscriber::registry().with(lines.with_filter(plugins)).try_init();
    // Only a program that shows its own log already refuses; then it is shown there.
    drop(shown);
}
