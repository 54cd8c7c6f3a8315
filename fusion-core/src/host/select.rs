//! Which of the bundles that were found a recipe gets, and why not the others: every candidate keeps its reason.

use std::fmt;
use std::path::PathBuf;

use fusion_dsl::codes::Code;
use fusion_dsl::suggest;
use fusion_dsl::world::PluginFault;
use semver::{Version, VersionReq};

use super::discover::{Found, Inventory};
use super::manifest::{Bundle, TARGET};

/// What a recipe asks for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The plugin's id.
    pub id: String,
    /// Requirements, all of which must accept the version; none accepts all.
    pub requirements: Vec<VersionReq>,
    /// The version in the lock file: taken where it is there and accepted, though a higher one may be.
    pub locked: Option<Version>,
}

/// Why a candidate is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its manifest cannot be used: reason.
    Broken(String),
    /// It has no library for this system, but for these.
    OtherTarget(Vec<String>),
    /// This fusion cannot run it: the code and the reason.
    Incompatible(Code, String),
    /// The requirement does not accept its version.
    NotAccepted(VersionReq),
    /// Another version is locked.
    NotLocked(Version),
    /// A higher version is there.
    Older(Version, PathBuf),
    /// The same version is in an earlier place.
    Shadowed(PathBuf),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Broken(reason) | Refusal::Incompatible(_, reason) => f.write_str(reason),
            Refusal::OtherTarget(others) if others.is_empty() => f.write_str("has no library at all"),
            Refusal::OtherTarget(others) => {
                let others = suggest::list(others.iter().map(String::as_str), 4);
                write!(f, "has no library for `{TARGET}`, only for {others}")
            }
            Refusal::NotAccepted(requirement) => write!(f, "not accepted by `{requirement}`"),
            Refusal::NotLocked(version) => write!(f, "{version} is locked"),
            Refusal::Older(version, folder) => write!(f, "older than {version} in {}", folder.display()),
            Refusal::Shadowed(folder) => {
                write!(f, "shadowed by the same version in {}", folder.display())
            }
        }
    }
}

impl Refusal {
    /// The word for machines.
    pub fn word(&self) -> &'static str {
        match self {
            Refusal::Broken(_) => "broken",
            Refusal::OtherTarget(_) => "other_target",
            Refusal::Incompatible(..) => "incompatible",
            Refusal::NotAccepted(_) => "not_accepted",
            Refusal::NotLocked(_) => "not_locked",
            Refusal::Older(..) => "older",
            Refusal::Shadowed(_) => "shadowed",
        }
    }
}

/// A bundle that might be the one.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The bundle.
    pub found: &'a Found,
    /// Why it is not taken; `None` for at most one candidate.
    pub refusal: Option<Refusal>,
}

/// A requirement as in Cargo: `^0.3`, `=1.2.0`, `>=1, <3`.
///
/// # Errors
/// F0702: the text is none.
pub fn requirement(id: &str, text: &str) -> Result<VersionReq, PluginFault> {
    VersionReq::parse(text).map_err(|error| {
        PluginFault::new(Code::PluginVersion, format!("`{text}` is no version requirement for `{id}`"))
            .label(error.to_string())
            .help("write it as Cargo does: `^0.3`, `=1.2.0` or `>=1, <3`")
    })
}

/// All bundles of an id, in the order in which they were found, with what speaks against each.
pub fn candidates<'a>(inventory: &'a Inventory, wanted: &Wanted) -> Vec<Candidate<'a>> {
    let mut candidates: Vec<Candidate<'a>> = inventory
        .found
        .iter()
        .filter(|found| found.id == wanted.id)
        .map(|found| Candidate { found, refusal: unfit(found, wanted) })
        .collect();
    let rank = |found: &Found| {
        // Releases before previews, then the higher version, then the earlier place. Build metadata does not order versions.
        let version = found.version.clone().unwrap_or(Version::new(0, 0, 0));
        let locked = wanted.locked.as_ref() == Some(&version);
        (locked, version.pre.is_empty(), version)
    };
    let mut best: Option<&Found> = None;
    for candidate in candidates.iter().filter(|candidate| candidate.refusal.is_none()) {
        if best.is_none_or(|best| rank(candidate.found) > rank(best)) {
            best = Some(candidate.found);
        }
    }
    let Some(best) = best else { return candidates };
    for candidate in candidates.iter_mut().filter(|candidate| candidate.refusal.is_none()) {
        if std::ptr::eq(candidate.found, best) {
            continue;
        }
        let version = best.version.clone().unwrap_or(Version::new(0, 0, 0));
        candidate.refusal = Some(if candidate.found.version == best.version {
            Refusal::Shadowed(best.folder.clone())
        } else if wanted.locked.as_ref() == Some(&version) {
            Refusal::NotLocked(version)
        } else {
            Refusal::Older(version, best.folder.clone())
        });
    }
    candidates
}

/// What speaks against a bundle by itself.
fn unfit(found: &Found, wanted: &Wanted) -> Option<Refusal> {
    let bundle = match &found.bundle {
        Ok(bundle) => bundle,
        Err(error) => return Some(Refusal::Broken(error.to_string())),
    };
    if let Some(requirement) = wanted.requirements.iter().find(|one| !one.matches(&bundle.version)) {
        return Some(Refusal::NotAccepted(requirement.clone()));
    }
    if let Some((code, reason)) = bundle.manifest.incompatible() {
        return Some(Refusal::Incompatible(code, reason));
    }
    let libraries = &bundle.manifest.libraries;
    (!libraries.contains_key(TARGET)).then(|| Refusal::OtherTarget(libraries.keys().cloned().collect()))
}

/// The bundle that a recipe gets.
///
/// # Errors
/// F0701, F0702, F0703, F0706 or F0709 to F0711, whichever the candidates' reasons come nearest to.
pub fn select<'a>(inventory: &'a Inventory, wanted: &Wanted) -> Result<&'a Bundle, PluginFault> {
    let candidates = candidates(inventory, wanted);
    let taken = candidates.iter().find(|candidate| candidate.refusal.is_none());
    if let Some(Ok(bundle)) = taken.map(|candidate| &candidate.found.bundle) {
        return Ok(bundle);
    }
    Err(fault(inventory, &wanted.id, &candidates))
}

fn fault(inventory: &Inventory, id: &str, candidates: &[Candidate<'_>]) -> PluginFault {
    let any = |fits: fn(&Refusal) -> bool| {
        candidates.iter().filter_map(|candidate| candidate.refusal.as_ref()).any(fits)
    };
    let why = format!("`fusion plugin list --why {id}` says more");
    let cannot = candidates.iter().find_map(|candidate| match &candidate.refusal {
        Some(Refusal::Incompatible(code, _)) => Some(*code),
        _ => None,
    });
    let mut fault = if candidates.is_empty() {
        missing(inventory, id)
    } else if let Some(code) = cannot {
        PluginFault::new(code, format!("the plugin `{id}` cannot run here"))
            .help(format!("install a build for this version of fusion; {why}"))
    } else if any(|refusal| matches!(refusal, Refusal::OtherTarget(_))) {
        PluginFault::new(Code::PluginTarget, format!("the plugin `{id}` has no library for this system"))
            .help(format!("install a bundle with one; {why}"))
    } else if any(|refusal| matches!(refusal, Refusal::NotAccepted(_))) {
        PluginFault::new(
            Code::PluginVersion,
            format!("no installed version of the plugin `{id}` is accepted"),
        )
        .help(format!("install another version, or change the requirement; {why}"))
    } else {
        PluginFault::new(Code::PluginManifest, format!("the manifest of the plugin `{id}` cannot be used"))
            .help("install it afresh with `fusion plugin add`; its author packs it with `fusion plugin pack`")
    };
    for candidate in candidates {
        let Some(refusal) = &candidate.refusal else { continue };
        fault = fault.note(match (&candidate.found.version, refusal) {
            // These name their file themselves.
            (_, Refusal::Broken(reason)) => reason.clone(),
            (Some(version), refusal) => {
                format!("{version} in {}: {refusal}", candidate.found.folder.display())
            }
            (None, refusal) => format!("{}: {refusal}", candidate.found.folder.display()),
        });
    }
    fault
}

fn missing(inventory: &Inventory, id: &str) -> PluginFault {
    let mut fault = PluginFault::new(Code::PluginNotFound, format!("the plugin `{id}` is not installed"));
    let known = inventory.found.iter().map(|found| found.id.as_str());
    match suggest::closest(id, known) {
        Some(near) => fault = fault.help(format!("did you mean `{near}`?")),
        None => {
            fault = fault.help("install it with `fusion plugin add`, or name its folder with `--plugin-path`")
        }
    }
    let places: Vec<String> =
        inventory.places.iter().map(|place| place.folder.display().to_string()).collect();
    fault = fault.note(format!("looked in {}", suggest::list(places.iter().map(String::as_str), 8)));
    for (place, reason) in &inventory.unreadable {
        fault = fault.note(format!("`{}` cannot be read: {reason}", place.display()));
    }
    fault
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::discover::{Place, discover};
    use super::super::manifest::tests::{bundle, manifest};
    use super::*;

    fn inventory(folder: &Path) -> Inventory {
        let place = |name: &str| Place { folder: folder.join(name), origin: name.into() };
        discover(vec![place("near"), place("far")])
    }

    fn wanted(requirements: &[&str], locked: Option<&str>) -> Wanted {
        Wanted {
            id: "org.a".into(),
            requirements: requirements.iter().map(|text| requirement("org.a", text).unwrap()).collect(),
            locked: locked.map(|text| Version::parse(text).unwrap()),
        }
    }

    #[test]
    fn the_best_accepted_version_wins_and_the_others_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (place, version) in
            [("near", "1.0.0"), ("near", "1.2.0"), ("far", "1.2.0"), ("far", "1.3.0"), ("far", "2.0.0-rc.1")]
        {
            bundle(&at(place), manifest("org.a", version), TARGET, version);
        }
        bundle(&at("far"), manifest("org.a", "9.0.0"), "wasm32-wasip1", "x");
        std::fs::create_dir_all(at("far/org.a-8.0.0")).unwrap();
        let inventory = inventory(folder.path());
        let chosen = |requirements: &[&str], locked: Option<&str>| {
            let bundle = select(&inventory, &wanted(requirements, locked)).unwrap();
            format!(
                "{} {}",
                bundle.folder.parent().unwrap().file_name().unwrap().to_string_lossy(),
                bundle.version
            )
        };
        // A preview is taken only where it is asked for, and a bundle for another system never.
        assert_eq!(chosen(&[], None), "far 1.3.0");
        assert_eq!(chosen(&["^1"], None), "far 1.3.0");
        assert_eq!(chosen(&[">=1, <1.3"], None), "near 1.2.0");
        assert_eq!(chosen(&["^1", "<1.2"], None), "near 1.0.0");
        assert_eq!(chosen(&["^2.0.0-rc.1"], None), "far 2.0.0-rc.1");
        assert_eq!(chosen(&["^1"], Some("1.2.0")), "near 1.2.0");
        assert_eq!(chosen(&["^1.3"], Some("1.2.0")), "far 1.3.0");
        let reasons: Vec<String> = candidates(&inventory, &wanted(&["<3"], None))
            .iter()
            .map(|candidate| match &candidate.refusal {
                Some(refusal) => refusal.to_string().replace(&folder.path().display().to_string(), "…"),
                None => "taken".to_owned(),
            })
            .collect();
        assert_eq!(
            reasons,
            [
                "older than 1.3.0 in …/far/org.a-1.3.0",
                "older than 1.3.0 in …/far/org.a-1.3.0",
                "older than 1.3.0 in …/far/org.a-1.3.0",
                "taken",
                "not accepted by `<3`",
                "`…/far/org.a-8.0.0/plugin.json` cannot be read: No such file or directory (os error 2)",
                "not accepted by `<3`",
            ]
        );
        let shadowed = candidates(&inventory, &wanted(&["=1.2.0"], None));
        assert_eq!(shadowed[2].refusal, Some(Refusal::Shadowed(at("near/org.a-1.2.0"))));
    }

    #[test]
    fn each_reason_has_its_code() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let code = || select(&inventory(folder.path()), &wanted(&["^1"], None)).unwrap_err().code;
        assert_eq!(code(), Code::PluginNotFound);
        std::fs::create_dir_all(at("near/org.a-1.0.0")).unwrap();
        assert_eq!(code(), Code::PluginManifest);
        bundle(&at("near"), manifest("org.a", "2.0.0"), TARGET, "x");
        assert_eq!(code(), Code::PluginVersion);
        bundle(&at("near"), manifest("org.a", "1.0.1"), "wasm32-wasip1", "x");
        assert_eq!(code(), Code::PluginTarget);
        bundle(&at("near"), manifest("org.a", "1.0.2"), TARGET, "x");
        assert!(select(&inventory(folder.path()), &wanted(&["^1"], None)).is_ok());
        let near = Wanted { id: "org.b".into(), ..Wanted::default() };
        let fault = select(&inventory(folder.path()), &near).unwrap_err();
        assert_eq!(fault.help.as_deref(), Some("did you mean `org.a`?"));
        assert_eq!(requirement("org.a", "one").unwrap_err().code, Code::PluginVersion);
    }
}
