//! The closed list of diagnostic codes, so that every message can be looked up (`fusion explain F0203`), tested and linked.
//!
//! To add a code: one line in the table below and one page `src/codes/pages/Fnnnn.md`. The compiler insists on the page,
//! a test insists on its three parts. A code's number is never used again for something else.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Severity;

macro_rules! codes {
    ($($severity:ident $id:literal $name:ident $title:literal;)*) => {
        /// What a diagnostic is about. F01 syntax, F02 names and settings, F03 types and methods, F04 models,
        /// F05 output and environment, F06 run time, F07 plugins.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        pub enum Code {
            $(
                #[doc = $title]
                #[serde(rename = $id)]
                $name,
            )*
        }

        impl Code {
            /// All codes, ascending.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// `F0203`
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $id),* }
            }

            /// One line: what it is about.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title),* }
            }

            /// Errors stop a recipe, warnings do not.
            pub fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity),* }
            }

            /// What it means, what triggers it and how to fix it, without the heading.
            fn body(self) -> &'static str {
                match self { $(Code::$name => include_str!(concat!("pages/", $id, ".md"))),* }
            }
        }
    };
}

codes! {
    // Syntax.
    Error "F0101" MissingHeader "the recipe does not say which edition of the language it is in";
    Error "F0102" UnsupportedEdition "this edition of the language is not known";
    Error "F0103" UnexpectedText "the text does not fit the grammar here";
    Error "F0104" UnclosedBracket "a brace, bracket or parenthesis is never closed";
    Error "F0105" ColonForEquals "parameters are set with `=`";
    Error "F0106" DoubleEqualsForEquals "`==` compares, `=` sets";
    Error "F0107" MissingUsing "`using` is missing before the method";
    Error "F0108" UnknownKeyword "no item or clause starts with this word";
    Error "F0109" IndentedItem "an item does not start at the beginning of its line";
    Error "F0110" UnclosedString "a quoted text is never closed";
    Error "F0111" UnknownUnit "no such unit";
    Error "F0112" NumberTooLarge "a number cannot be represented";
    Error "F0113" BadEscape "no such escape in a quoted text";
    Error "F0114" NestingTooDeep "brackets or operators are nested too deeply";
    Error "F0115" ClauseNotAllowed "this clause does not belong in this block";
    Error "F0116" ReservedWord "a word of the language is used as a name";
    Error "F0117" StrayBracket "a closing brace, bracket or parenthesis has no partner";
    Error "F0118" TooLarge "the text is too large to be a recipe";
    Error "F0119" MissingSeparator "two clauses stand on one line without `;`";
    Error "F0120" CommaForSemicolon "clauses are separated by `;` or a new line";
    Error "F0121" MisplacedHeader "the edition is stated once, on the first line";
    Error "F0122" SingleQuotes "texts stand in double quotes";
    Error "F0123" UnquotedText "a path or pattern is not quoted";
    Error "F0124" EqualsForColon "arguments are named with `:`";

    // Names, parameters, settings, rules.
    Error "F0201" UnknownName "nothing has this name";
    Error "F0202" DuplicateName "a name is bound twice";
    Error "F0203" UnknownParameter "the method has no such parameter";
    Error "F0204" OutOfRange "a value lies outside its allowed range";
    Error "F0205" WrongType "a value has the wrong type for its parameter";
    Error "F0206" MissingParameter "a required parameter is not set";
    Error "F0207" MatchesNothing "no tensor matches this pattern";
    Warning "F0208" HiddenRule "a later rule hides this one completely";
    Warning "F0209" UnusedParam "a parameter of the recipe is never used";
    Error "F0210" MissingUnit "a number needs a unit here";
    Error "F0211" WrongUnit "the unit does not fit the parameter";
    Error "F0212" DuplicateSetting "a parameter is set twice in one block";
    Error "F0213" CannotVary "this parameter has one value for the whole stage";
    Error "F0214" NotPerInput "this parameter cannot be set for one input";
    Error "F0215" UnknownWord "not one of the words that this parameter takes";
    Error "F0216" UnknownDtype "no such number format";
    Error "F0217" Cycle "names depend on each other in a circle";
    Error "F0218" ImportCycle "files import each other in a circle";
    Error "F0219" ImportNotFound "an imported file cannot be read";
    Error "F0220" UnknownImportParameter "the imported recipe has no such parameter";
    Error "F0221" UnknownSetParameter "`--set` names no parameter of the recipe";
    Error "F0222" BadSetValue "the value of `--set` cannot be read";
    Error "F0223" BadSweep "this cannot be swept over";
    Error "F0224" NotKnownAtPlanTime "the value must be known before anything runs";
    Error "F0225" IndexOutOfRange "the index is outside what the loop made";
    Error "F0226" BadIndex "the name and its index do not fit together";
    Error "F0227" UnknownPart "the result has no such part";
    Error "F0228" TooManyVariants "loops and sweeps multiply to too much";
    Error "F0229" EmptyRange "the range holds nothing";
    Error "F0230" BadSchedule "the schedule is malformed";
    Error "F0231" UnknownFunction "no such function";
    Error "F0232" BadArgument "the arguments do not fit the function";
    Error "F0233" BadArithmetic "the calculation has no finite result";
    Warning "F0234" UnusedName "something is declared and never used";
    Error "F0235" LayersOutside "the layer range reaches past the model";
    Error "F0236" BadPattern "the pattern is malformed";
    Error "F0237" BrokenImport "an imported recipe has errors";
    Error "F0238" UnknownType "no such parameter type";
    Error "F0239" UnknownNetwork "no such network architecture";
    Error "F0240" OverTime "this schedule runs over time, the parameter varies over layers";
    Error "F0241" BadNameMap "the map of tensor names is malformed";
    Warning "F0242" SameNetwork "two networks start from the same weights";

    // Types, verbs, methods, ports.
    Error "F0301" WrongVerb "the method belongs to another verb";
    Error "F0302" UnknownMethod "no such method";
    Error "F0303" VerbWithoutMethods "no method of this verb is built in yet";
    Error "F0304" MissingMethod "the stage does not say which method it uses";
    Error "F0305" UnknownRole "the method has no such input";
    Error "F0306" MissingEdge "a required input is not connected";
    Error "F0307" TooManyInputs "more inputs than the method takes";
    Error "F0308" TooFewInputs "fewer inputs than the method needs";
    Error "F0309" WrongSpace "the input is of the wrong kind";
    Error "F0310" ClauseOfOtherVerb "this clause belongs to another verb";
    Error "F0311" CannotSave "this result cannot be written as a checkpoint";
    Error "F0312" TypeMismatch "the operator does not take values of these types";
    Error "F0313" NotACondition "`expect` needs something that is true or false";
    Error "F0314" NoInputSettings "this input takes no settings";
    Error "F0315" UnknownFact "nothing of this name is known about the result";
    Error "F0316" IncompleteStitch "the stitch does not say which layers it is made of";
    Error "F0317" NoRules "the method takes no per-tensor rules";

    // Models and headers.
    Error "F0401" CannotOpenModel "the checkpoint cannot be opened";
    Error "F0402" LayerCountsDiffer "the models' layer counts differ";
    Error "F0403" ShapesDiffer "a tensor has different shapes in the models";
    Error "F0404" MissingTensors "a model lacks tensors that the others have";
    Error "F0405" ExtraTensors "a model has tensors that the base lacks";
    Error "F0406" MissingBase "the method needs a base model";
    Error "F0407" WrongDtype "a tensor's number format cannot be used";
    Error "F0408" CorruptCheckpoint "the checkpoint is damaged";
    Error "F0409" HostileCheckpoint "the checkpoint asks for something unsafe";
    Error "F0410" NonFloatMismatch "whole-number tensors differ between the models";
    Error "F0411" AdapterMismatch "the adapter does not fit its base model";
    Error "F0412" ZeroSumWeights "the weights to normalise add up to zero";
    Warning "F0413" CancellingWeights "the weights nearly cancel";
    Error "F0414" VocabulariesDiffer "the models' vocabularies differ";
    Error "F0415" ArchitecturesDiffer "the models are of different architectures";
    Error "F0416" UnknownFormat "the file is not in a known checkpoint format";
    Error "F0417" NotLayered "the model has no layers to count";
    Warning "F0418" TokenizersDiffer "the models' tokenizers differ";
    Warning "F0419" TiedTensorsDiffer "tied tensors are tied in only some of the models";
    Warning "F0420" IdenticalInputs "two inputs are the same checkpoint";
    Error "F0421" NetworkNotKnown "the weights are there, but not the network that they belong to";
    Error "F0422" NoStatistics "nothing says what BatchNorm's statistics are after the weights were mixed";
    Error "F0423" DataDoesNotFit "the data set is not what the network takes or answers";
    Error "F0424" NoSymmetries "nothing says which units of the model may change places";
    Error "F0425" BadDataSetting "the settings do not fit the data set";

    // Output and environment.
    Error "F0501" TargetExists "the output is already there";
    Error "F0502" NotEnoughDisk "there is not enough disk space for the output";
    Error "F0503" ReadOnlyTarget "the output folder cannot be written to";
    Error "F0504" OutputInsideInput "the output lies inside an input";
    Error "F0505" CannotWrite "a file cannot be written";
    Error "F0506" SameTarget "two outputs have the same path";
    Error "F0507" StaleJournal "an interrupted run cannot be resumed";
    Error "F0508" NotEnoughMemory "the memory budget is too small";
    Error "F0509" DeviceUnavailable "the compute device is not there";
    Error "F0510" UnsupportedSource "models cannot be read from this kind of source";
    Error "F0511" CannotReadFile "a file cannot be read";
    Error "F0512" CannotReadData "the data set cannot be read";

    // Run time.
    Error "F0601" NonFinite "a tensor holds NaN or infinity";
    Error "F0602" ExpectationFailed "an `expect` does not hold";
    Error "F0603" Cancelled "the run was stopped";
    Error "F0604" Io "reading or writing failed during the run";
    Error "F0605" InputChanged "an input changed during the run";
    Error "F0606" MethodFailed "a method gave up";
    Error "F0607" Internal "a defect of fusion itself";
    Error "F0608" VerificationFailed "what was written does not read back the same";

    // Plugins.
    Error "F0701" PluginNotFound "the plugin is not installed";
    Error "F0702" PluginVersion "no installed version of the plugin is accepted";
    Error "F0703" PluginIncompatible "the plugin does not fit this fusion or this machine";
    Error "F0704" PluginHash "the plugin is not the one in the lock file";
    Error "F0705" PluginFailed "the plugin failed";
    Error "F0706" PluginManifest "the plugin's manifest is broken or stale";
    Error "F0707" PluginsOff "plugins are switched off";
    Error "F0708" PluginNotLocked "the plugin is not in the lock file";
    Error "F0709" PluginTooNew "the plugin needs a newer fusion";
    Error "F0710" PluginService "the plugin needs a service that this fusion does not offer";
    Error "F0711" PluginTarget "the plugin has no library for this system";
    Error "F0712" PluginNotLoadable "the file cannot be loaded as a plugin";
    Error "F0713" PluginDescriptor "the plugin describes itself wrongly";
    Error "F0714" PluginStale "the plugin's manifest is stale";
}

impl Code {
    /// The code of a text such as `F0203` (any case).
    pub fn parse(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(text.trim()))
    }

    /// The group's name: "syntax", "names and settings", …
    pub fn group(self) -> &'static str {
        match &self.as_str()[..3] {
            "F01" => "syntax",
            "F02" => "names and settings",
            "F03" => "types and methods",
            "F04" => "models",
            "F05" => "output and environment",
            "F06" => "run time",
            _ => "plugins",
        }
    }

    /// The whole page in Markdown: heading, what it means, an example that triggers it, how to fix it.
    pub fn page(self) -> String {
        format!("# {}: {}\n\n{}", self.as_str(), self.title(), self.body())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_read_back() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].as_str() < pair[1].as_str(), "{} before {}", pair[0], pair[1]);
        }
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(*code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        assert_eq!(Code::parse("f0203"), Some(Code::UnknownParameter));
        assert_eq!(Code::parse("F9999"), None);
    }

    #[test]
    fn every_page_says_what_it_means_shows_it_and_helps() {
        for code in Code::ALL {
            let body = code.body();
            let (means, rest) =
                body.split_once("\n## Example\n").unwrap_or_else(|| panic!("{code}: no example"));
            let (example, fix) =
                rest.split_once("\n## How to fix it\n").unwrap_or_else(|| panic!("{code}: no fix"));
            assert!(means.trim().len() > 40, "{code}: meaning is too short");
            assert!(example.contains("```"), "{code}: example is not code");
            assert!(fix.trim().len() > 20, "{code}: fix is too short");
        }
    }

    /// The recipe in a page's example.
    fn example(code: Code) -> Option<&'static str> {
        code.body().split_once("```fusion\n")?.1.split_once("```").map(|(recipe, _)| recipe)
    }

    #[test]
    fn examples_of_syntax_trigger_their_code_and_all_others_parse() {
        for code in Code::ALL {
            let Some(recipe) = example(*code) else { continue };
            let (_, diagnostics) = crate::parse(recipe);
            if code.as_str().starts_with("F01") {
                assert!(diagnostics.iter().any(|found| found.code == *code), "{code}: {diagnostics:#?}");
            } else if *code != Code::ImportCycle {
                assert!(diagnostics.is_empty(), "{code}: {diagnostics:#?}");
            }
        }
    }
}
