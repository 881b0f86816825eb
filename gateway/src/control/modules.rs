//! From what was published to what can be enforced: modules loaded, departments whose rules cannot be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_core::{Department, DepartmentCode, Platform, PolicyState, Snapshot};
use tidegate_policy_engine::{Digest, Library};
use tidegate_store::View;

use crate::shard::Told;

/// The modules of a process and what became of each department's.
pub(crate) struct Modules {
    library: Arc<Library>,
    /// Departments as they are enforced instead of as published, kept so that an unchanged one stays the same.
    replaced: HashMap<DepartmentCode, (Arc<Department>, Arc<Department>)>,
    platform: Option<(Arc<Platform>, Arc<Platform>)>,
    last: Option<Loaded>,
}

/// A snapshot as published and as it is enforced.
struct Loaded {
    published: Arc<Snapshot>,
    enforced: Arc<Snapshot>,
    modules: Arc<[Digest]>,
    broken: Arc<BTreeMap<DepartmentCode, String>>,
}

impl Modules {
    pub(crate) fn new(library: Arc<Library>) -> Self {
        Self { library, replaced: HashMap::new(), platform: None, last: None }
    }

    /// What shards are told of a view, and the departments that are denied.
    pub(crate) fn take(&mut self, view: View) -> (Told, Arc<BTreeMap<DepartmentCode, String>>) {
        let Some(published) = view.snapshot.clone() else {
            return (Told { view: Arc::new(view), modules: Arc::new([]) }, Arc::default());
        };
        let last = self.last.take().filter(|last| Arc::ptr_eq(&last.published, &published));
        let loaded = last.unwrap_or_else(|| self.load(published));
        let told = Told {
            view: Arc::new(View { snapshot: Some(Arc::clone(&loaded.enforced)), ..view }),
            modules: Arc::clone(&loaded.modules),
        };
        let broken = Arc::clone(&loaded.broken);
        self.last = Some(loaded);
        (told, broken)
    }

    /// Forgets modules that no shard asks for any more.
    pub(crate) fn retain(&self) {
        if let Some(last) = &self.last {
            self.library.retain(&last.modules);
        }
    }

    fn load(&mut self, published: Arc<Snapshot>) -> Loaded {
        let mut modules = Vec::new();
        let mut broken = BTreeMap::new();
        let platform = match self.attempt(&published.platform.policy, &mut modules) {
            Ok(()) => None,
            Err(error) => {
                // Without the guardrails nothing may be allowed to anybody.
                tracing::error!(%error, "the platform's guardrails cannot be loaded: everything is denied");
                for code in published.departments.keys() {
                    broken.insert(code.clone(), format!("the platform's guardrails: {error}"));
                }
                Some(self.without_platform(&published.platform))
            }
        };
        let mut changed = BTreeMap::new();
        for (code, department) in &published.departments {
            if let Err(error) = self.attempt(&department.policy, &mut modules) {
                tracing::error!(department = %code, %error, "rules cannot be loaded: the department is denied");
                changed.insert(code.clone(), self.without_rules(department));
                broken.insert(code.clone(), error);
            }
        }
        self.replaced.retain(|code, _| changed.contains_key(code));
        let enforced = if platform.is_none() && changed.is_empty() {
            Arc::clone(&published)
        } else {
            let mut departments = published.departments.clone();
            departments.extend(changed);
            Arc::new(Snapshot {
                generation: published.generation,
                platform: platform.unwrap_or_else(|| Arc::clone(&published.platform)),
                departments,
            })
        };
        modules.sort_unstable();
        modules.dedup();
        Loaded { published, enforced, modules: modules.into(), broken: Arc::new(broken) }
    }

    fn attempt(&self, policy: &PolicyState, modules: &mut Vec<Digest>) -> Result<(), String> {
        let PolicyState::Module(module) = policy else { return Ok(()) };
        self.library.load(&module.digest, &module.wasm).map_err(|error| error.to_string())?;
        modules.push(module.digest);
        Ok(())
    }

    fn without_rules(&mut self, department: &Arc<Department>) -> Arc<Department> {
        if let Some((published, enforced)) = self.replaced.get(&department.code)
            && Arc::ptr_eq(published, department)
        {
            return Arc::clone(enforced);
        }
        let enforced = Arc::new(Department { policy: PolicyState::Broken, ..Department::clone(department) });
        let pair = (Arc::clone(department), Arc::clone(&enforced));
        self.replaced.insert(department.code.clone(), pair);
        enforced
    }

    fn without_platform(&mut self, platform: &Arc<Platform>) -> Arc<Platform> {
        if let Some((published, enforced)) = &self.platform
            && Arc::ptr_eq(published, platform)
        {
            return Arc::clone(enforced);
        }
        let enforced = Arc::new(Platform { policy: PolicyState::Broken, ..Platform::clone(platform) });
        self.platform = Some((Arc::clone(platform), Arc::clone(&enforced)));
        enforced
    }
}
