//! Units of numbers, and what they measure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a unit measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// `%`
    Fraction,
    /// Storage.
    Bytes,
    /// Training: epochs and steps.
    Training,
    /// Examples.
    Samples,
    /// Tokens.
    Tokens,
    /// Wall-clock time.
    Time,
}

impl Dimension {
    /// For messages.
    pub fn word(self) -> &'static str {
        match self {
            Dimension::Fraction => "fraction",
            Dimension::Bytes => "size",
            Dimension::Training => "span of training",
            Dimension::Samples => "number of samples",
            Dimension::Tokens => "number of tokens",
            Dimension::Time => "time",
        }
    }
}

macro_rules! units {
    ($($name:ident $word:literal [$($other:literal)*] $dimension:ident $factor:expr;)*) => {
        /// The unit of a number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Unit {
            $(
                #[doc = concat!("`", $word, "`")]
                #[serde(rename = $word)]
                $name,
            )*
        }

        impl Unit {
            /// All of them.
            pub const ALL: &'static [Unit] = &[$(Unit::$name),*];

            /// Every word that names a unit.
            pub const WORDS: &'static [&'static str] = &[$($word, $($other,)*)*];

            /// The word: singular for those that have a plural.
            pub fn word(self) -> &'static str {
                match self { $(Unit::$name => $word),* }
            }

            /// The unit that a word names (`%`, `GiB`, `epoch`, `epochs`); case matters.
            pub fn parse(word: &str) -> Option<Unit> {
                match word {
                    $($word $(| $other)* => Some(Unit::$name),)*
                    _ => None,
                }
            }

            /// What it measures.
            pub fn dimension(self) -> Dimension {
                match self { $(Unit::$name => Dimension::$dimension),* }
            }

            /// How many of the dimension's own unit it is: parts of one for `%`, bytes for sizes, minutes for times,
            /// 1 for the rest (epochs and steps are not converted into each other).
            pub fn factor(self) -> f64 {
                match self { $(Unit::$name => $factor),* }
            }
        }
    };
}

units! {
    Percent "%" [] Fraction 0.01;
    B "B" [] Bytes 1.0;
    KB "KB" ["kB"] Bytes 1e3;
    MB "MB" [] Bytes 1e6;
    GB "GB" [] Bytes 1e9;
    TB "TB" [] Bytes 1e12;
    KiB "KiB" [] Bytes 1024.0;
    MiB "MiB" [] Bytes 1048576.0;
    GiB "GiB" [] Bytes 1073741824.0;
    TiB "TiB" [] Bytes 1099511627776.0;
    Epoch "epoch" ["epochs"] Training 1.0;
    Step "step" ["steps"] Training 1.0;
    Sample "sample" ["samples"] Samples 1.0;
    Token "token" ["tokens"] Tokens 1.0;
    Minute "minute" ["minutes"] Time 1.0;
    Hour "hour" ["hours"] Time 60.0;
}

impl Unit {
    /// The word after a value: `1 epoch`, `40 epochs`, `5 GB`.
    pub fn word_for(self, value: f64) -> &'static str {
        match self {
            Unit::Epoch if value != 1.0 => "epochs",
            Unit::Step if value != 1.0 => "steps",
            Unit::Sample if value != 1.0 => "samples",
            Unit::Token if value != 1.0 => "tokens",
            Unit::Minute if value != 1.0 => "minutes",
            Unit::Hour if value != 1.0 => "hours",
            _ => self.word(),
        }
    }
}
