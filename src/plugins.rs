//! The plugins of one recipe: chosen among those that are installed, held against the lock file, declared from their manifests, and
//! loaded only when a run needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fusion_core::engine::RunError;
use fusion_core::host::{
    self, Bundle, Inventory, LOCK, Lock, Manifest, ManifestError, Plugin, TARGET, Wanted, discover,
    requirement, short,
};
use fusion_core::method::{PluginInfo, Registry};
use fusion_dsl::codes::Code;
use fusion_dsl::diag::Diagnostic;
use fusion_dsl::graph::PluginUse;
use fusion_dsl::span::Span;
use fusion_dsl::world::{PluginFault, plugin_of};
use serde_json::{Value as Json, json};

use crate::cli::PluginArgs;
use crate::commands::plugin_host;
use crate::failure::Failure;
use crate::places::places;
use crate::recipe::name;
use crate::ui::style::Style;
use crate::ui::table::{Side, Table};

/// What a recipe gets.
#[derive(Default)]
pub(crate) struct Plugins {
    /// `--no-plugins`.
    off: bool,
    /// What is installed.
    inventory: Inventory,
    /// The lock file and what is in it, or why it cannot be read.
    lock: (PathBuf, Option<Result<Lock, String>>),
    /// By id.
    chosen: BTreeMap<String, Result<Chosen, PluginFault>>,
}

/// Which plugins run in a process of their own.
pub(crate) struct Isolation<'a> {
    /// Their ids.
    pub(crate) ids: &'a [String],
    /// Set when the user wants to stop.
    pub(crate) stop: &'a Arc<AtomicBool>,
}

impl Isolation<'_> {
    fn load(&self, id: &str, library: &Path) -> Result<Plugin, Failure> {
        let loaded = if self.ids.iter().any(|one| one == id) {
            host::isolate::isolate(plugin_host::command()?, library, self.stop.clone())
        } else {
            host::load(library)
        };
        loaded.map_err(|error| match self.stop.load(Ordering::SeqCst) {
            true => Failure::new(Code::Cancelled, RunError::Cancelled.to_string()),
            false => Failure::from(&error),
        })
    }
}

/// A plugin that fits.
pub(crate) struct Chosen {
    /// Where it is.
    pub(crate) bundle: Bundle,
    /// What the registry knows of it.
    info: PluginInfo,
    /// The hash of its library as it is now.
    hash: Result<String, ManifestError>,
}

impl Plugins {
    /// Looks for the plugins of a recipe in `root`. With `locked`, a locked version is preferred to a higher one.
    pub(crate) fn choose(
        args: &PluginArgs,
        root: &Path,
        uses: &[PluginUse],
        locked: bool,
    ) -> Result<Plugins, Failure> {
        let path = root.join(LOCK);
        if args.no_plugins {
            return Ok(Plugins { off: true, ..Plugins::default() });
        }
        let inventory = discover(places(&args.plugin_path, Some(root))?);
        let lock = locked.then(|| Lock::read(&path));
        let mut chosen = BTreeMap::new();
        for id in uses.iter().map(|one| &one.id).collect::<BTreeSet<_>>() {
            let texts: BTreeSet<&str> =
                uses.iter().filter(|one| one.id == *id).filter_map(|one| one.version.as_deref()).collect();
            let wanted = Wanted {
                id: id.clone(),
                // What cannot be read is told where it stands.
                requirements: texts.iter().filter_map(|text| requirement(id, text).ok()).collect(),
                locked: lock
                    .as_ref()
                    .and_then(|lock| Some(lock.as_ref().ok()?.plugins.get(id)?.version.clone())),
            };
            let one = match host::select(&inventory, &wanted) {
                Ok(bundle) => Ok(Chosen::new(bundle)),
                Err(_) if wanted.requirements.len() > 1 => Err(PluginFault::new(
                    Code::PluginVersion,
                    format!("no installed version of the plugin `{id}` is accepted everywhere"),
                )
                .note(format!("asked for are {}", fusion_dsl::suggest::list(texts.iter().copied(), 8)))
                .help(format!(
                    "one version must fit them all; `fusion plugin list --why {id}` shows what is there"
                ))),
                Err(fault) => Err(fault),
            };
            chosen.insert(id.clone(), one);
        }
        Ok(Plugins { off: false, inventory, lock: (path, lock), chosen })
    }

    /// What speaks against one `use plugin`.
    pub(crate) fn usable(&self, id: &str, version: Option<&str>) -> Result<(), PluginFault> {
        if self.off {
            return Err(PluginFault::new(
                Code::PluginsOff,
                format!("the plugin `{id}` is asked for, and plugins are switched off"),
            )
            .help("leave `--no-plugins` out if you trust it, or use a built-in method"));
        }
        let requirements = version.map(|text| requirement(id, text)).transpose()?.into_iter().collect();
        let alone = Wanted { id: id.to_owned(), requirements, locked: None };
        host::select(&self.inventory, &alone)?;
        match self.chosen.get(id) {
            Some(Err(fault)) => Err(fault.clone()),
            _ => Ok(()),
        }
    }

    /// Those that fit.
    pub(crate) fn chosen(&self) -> impl Iterator<Item = &Chosen> {
        self.chosen.values().filter_map(|one| one.as_ref().ok())
    }

    /// Whether the recipe uses none.
    pub(crate) fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// Makes their methods known, without code.
    pub(crate) fn declare(&self, registry: &mut Registry) {
        for one in self.chosen() {
            for method in one.bundle.manifest.qualified() {
                registry.declare(method, one.info.clone());
            }
        }
    }

    /// What the lock file says against them, at the first place where each is asked for.
    pub(crate) fn verify(&self, uses: &[PluginUse], recipe: &Path) -> Vec<Diagnostic> {
        let recipe = if recipe == Path::new("-") { "RECIPE".to_owned() } else { name(recipe) };
        self.chosen()
            .filter_map(|one| {
                let id = &one.bundle.manifest.id;
                let span = uses.iter().find(|found| found.id == *id).map_or(Span::NONE, |found| found.span);
                Some(self.verdict(one, &recipe)?.at(span))
            })
            .collect()
    }

    fn verdict(&self, one: &Chosen, recipe: &str) -> Option<PluginFault> {
        let broken = |reason: String| {
            PluginFault::new(Code::PluginManifest, reason).help(
                "install it afresh with `fusion plugin add`; its author packs it with `fusion plugin pack`",
            )
        };
        let hash = match &one.hash {
            Ok(hash) => hash,
            Err(error) => return Some(broken(error.to_string())),
        };
        let (path, lock) = &self.lock;
        match lock {
            Some(Err(reason)) => {
                return Some(
                    PluginFault::new(
                        Code::PluginNotLocked,
                        format!("the plugin `{}` is not locked", one.bundle.manifest.id),
                    )
                    .note(format!("`{}` {reason}", path.display()))
                    .help(format!(
                        "remove that file, then run `fusion lock {recipe}` if you trust the plugin"
                    )),
                );
            }
            Some(Ok(lock)) => {
                if let Err(fault) = lock.allows(&one.bundle, hash, recipe) {
                    return Some(fault);
                }
            }
            None => {}
        }
        one.bundle.intact(TARGET).err().map(|error| broken(error.to_string()))
    }

    /// Loads those of these ids and gives their methods code. Nothing is believed of a library that its manifest does not say.
    pub(crate) fn load(
        &self,
        ids: &BTreeSet<&str>,
        isolation: &Isolation<'_>,
        registry: &mut Registry,
    ) -> Result<(), Failure> {
        for one in self.chosen().filter(|one| ids.contains(one.bundle.manifest.id.as_str())) {
            let found = one.bundle.hash(TARGET).map_err(|error| Failure::from(&error))?;
            if found != one.info.blake3 {
                return Err(Failure::new(
                    Code::PluginHash,
                    format!("`{}` changed since it was checked", one.info.library.display()),
                )
                .note(format!("it was {}…, it is {}…", short(&one.info.blake3), short(&found)))
                .help("run again when nothing writes to it"));
            }
            let plugin = isolation.load(&one.info.id, &one.info.library)?;
            if let Some(reason) = one.bundle.manifest.differs(&Manifest::of(&plugin)) {
                return Err(Failure::new(
                    Code::PluginStale,
                    format!("`{}` is stale: {reason}", one.bundle.path().display()),
                )
                .help("its author runs `fusion plugin pack` after each build; install the bundle that comes of it"));
            }
            for method in plugin.methods {
                registry.add_plugin(one.info.clone(), method);
            }
        }
        Ok(())
    }

    /// Adds to a run's failure which plugin is to blame.
    pub(crate) fn blamed(&self, error: &RunError, failure: Failure) -> Failure {
        let RunError::Method { method, help, .. } = error else { return failure };
        let blamed = plugin_of(method).and_then(|id| self.chosen().find(|one| one.info.id == id));
        match blamed {
            Some(one) => {
                let failure =
                    failure.note(format!("reported by the plugin {} {}", one.info.id, one.info.version));
                match help {
                    Some(_) => failure, // the plugin has said what to do
                    None => failure.help("where it blames no setting or input, tell the plugin's author"),
                }
            }
            None => failure,
        }
    }

    /// Id, version, hash and folder of each.
    pub(crate) fn table(&self, style: Style) -> Table {
        let mut table = Table::new(&[Side::Left, Side::Left, Side::Left, Side::Left]).indent(2);
        for one in self.chosen() {
            table.row([
                style.bold(&one.info.id),
                one.info.version.clone(),
                one.bundle.folder.display().to_string(),
                style.dim(short(&one.info.blake3)),
            ]);
        }
        table
    }

    /// The same for machines.
    pub(crate) fn json(&self) -> Json {
        self.chosen()
            .map(|one| {
                json!({
                    "id": one.info.id,
                    "version": one.info.version,
                    "library": one.info.library,
                    "blake3": one.info.blake3,
                })
            })
            .collect()
    }
}

impl Chosen {
    fn new(bundle: &Bundle) -> Chosen {
        let hash = bundle.hash(TARGET);
        let manifest = &bundle.manifest;
        let stated =
            || manifest.libraries.get(TARGET).map(|library| library.blake3.clone()).unwrap_or_default();
        let info = PluginInfo {
            id: manifest.id.clone(),
            version: manifest.version.clone(),
            library: bundle.library(TARGET).unwrap_or_default(),
            blake3: hash.clone().unwrap_or_else(|_| stated()),
        };
        Chosen { bundle: bundle.clone(), info, hash }
    }
}
