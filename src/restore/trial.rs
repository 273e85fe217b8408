//! `verify --restore`: the newest snapshot restored where nothing else is, read back from there, compared, and removed again.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use super::crossing::Crossing;
use super::selection::Selection;
use super::{Restore, RestoreError};
use crate::config::{DatabaseSettings, SiteName, TreeName, TrustedKeys};
use crate::database::{DatabaseError, Definer, Existing, Fingerprint, LoadOptions, Loader, Vendor, drop_schema};
use crate::error::{Exit, Explain as _, render};
use crate::files::{Action, TargetOptions};
use crate::progress::Progress;
use crate::repository::byte_text::ByteText;
use crate::repository::entry::TableItem;
use crate::repository::layout::Layout;
use crate::repository::manifest::SAFETY;
use crate::repository::state::lock_file;
use crate::repository::verify::{Fault, FaultKind, Level, Report, Tried, Verify};
use crate::repository::{RepositoryError, random_hex, sign, snapshots};
use crate::storage::Store;

/// What the schemas of trials are called, but for their random ends.
const SCHEMA_START: &str = "wp_backup_agent_trial_";
/// Differences that are told one by one.
const TOLD: usize = 100;

/// Where a snapshot is restored to for a trial.
#[derive(Debug, Clone)]
pub struct Scratch {
    /// The directory in which a directory of its own is made.
    pub dir: PathBuf,
    /// A server, and an account that may create a schema there.
    pub database: DatabaseSettings,
    /// Connections that load at a time.
    pub connections: usize,
}

/// How a verify by restoring ended.
#[derive(Debug)]
pub struct TrialEnded {
    /// What was found: of the store's structure in any case.
    pub report: Report,
    /// How keeping it in local state went.
    pub kept: Result<(), RestoreError>,
    /// What kept the trial itself from being made: no room, no server, no identity. That the snapshot doesn't restore is in the report.
    pub trial: Result<(), RestoreError>,
}

impl TrialEnded {
    /// Whether there is something that others should know.
    pub fn says_something(&self) -> bool {
        self.report.snapshots > 0 && (self.trial.is_ok() || !self.report.is_fine())
    }
}

/// Looks at the store's structure, then tries the newest snapshot of those that are believed, and keeps what was found. Whose are believed: those
/// that `verify` trusts, or where it names nobody, this machine's own; another's SQL is never run. Needs a multi-threaded runtime.
///
/// # Errors
/// Those of [`Verify::run`].
pub async fn verify_by_trial(
    verify: Verify,
    scratch: &Scratch,
    state: &Path,
    progress: Arc<dyn Progress>,
) -> Result<TrialEnded, RestoreError> {
    let (verify, record) = Verify { level: Level::Restore, ..verify }.informed(state);
    let (store, layout, cancel) = (Arc::clone(&verify.store), verify.layout.clone(), verify.cancel.clone());
    let identities = verify.identities.clone();
    let trusted = if verify.trusted.is_empty() { TrustedKeys::new(verify.own) } else { verify.trusted.clone() };
    let site = layout.site().clone();
    let mut report = verify.run().await?;
    // What comes now may take hours, and may not be possible here: what is known by now is kept first.
    let structure = Report { level: Level::Structure.name().to_owned(), ..report.clone() };
    let mut kept = record.clone().keep(&structure, state, &site);
    let mut tried_it = false;
    let trial = async {
        if report.snapshots == 0 {
            return Ok(());
        }
        if trusted.is_empty() {
            return Err(RestoreError::NobodyTrusted);
        }
        let key = newest(&store, &layout, &trusted).await?;
        let restore = Restore::open(Arc::clone(&store), layout.clone(), &key, progress, cancel.clone()).await?;
        let restore = restore.trusting(&trusted)?.unlock(&identities);
        restore.find_room(&scratch.dir)?;
        let place = Place::make(scratch, &site, &cancel).await?;
        let tried = restore.try_in(&place, scratch).await;
        let removed = place.remove(scratch).await;
        match tried {
            Ok((tried, differences)) => {
                tried_it = true;
                let snapshots = Some((tried.seq, tried.seq));
                for detail in differences {
                    report.fault(Fault { kind: FaultKind::Restored, object: tried.snapshot.clone(), detail, snapshots });
                }
                report.tried = Some(tried);
            }
            Err(error) if is_of_the_snapshot(&error) => {
                tried_it = true;
                let detail = format!("it doesn't restore: {}", render(&error));
                if let RestoreError::Repository(error) = &error {
                    // So it is sent again.
                    report.bad_packs.extend(error.bad_pack(&layout));
                }
                report.fault(Fault { kind: FaultKind::Restored, object: key, detail, snapshots: None });
            }
            Err(error) => {
                if let Err(left) = &removed {
                    tracing::error!(site = %site, "of a trial something is left: {}", render(left));
                }
                return Err(error);
            }
        }
        removed
    };
    let trial = trial.await;
    if tried_it {
        kept = record.keep(&report, state, &site);
    }
    Ok(TrialEnded { report, kept: kept.map_err(RestoreError::from), trial })
}

/// The newest snapshot that is signed by one of these, and was not made by a restore.
async fn newest(store: &Arc<dyn Store>, layout: &Layout, trusted: &TrustedKeys) -> Result<String, RestoreError> {
    for found in snapshots::list(store.as_ref(), layout, None).await?.into_iter().rev() {
        match snapshots::read(store.as_ref(), &found).await {
            Ok(stored) if sign::accept(trusted, stored.signer, &stored.path).is_err() => {}
            Ok(stored) if stored.manifest.trigger == SAFETY => {}
            Ok(_) => return Ok(found.path),
            // The structure's report has it.
            Err(error) if error.is_of_the_object() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RestoreError::NoneTrusted)
}

/// Whether it is the snapshot that doesn't restore, and not the place that can't take it.
fn is_of_the_snapshot(error: &RestoreError) -> bool {
    match error {
        RestoreError::Repository(error) => error.is_of_the_object(),
        RestoreError::Incomplete { .. } => true,
        // The server's disk is full.
        RestoreError::Database(DatabaseError::Server { code: 1021 | 1028 | 1114, .. }) => false,
        // A server that takes the connection, and not what the snapshot holds.
        RestoreError::Database(error) => {
            !matches!(error.exit(), Exit::Unavailable | Exit::Denied | Exit::Cancelled | Exit::CannotCreate)
        }
        _ => false,
    }
}

/// A directory and a schema of a trial's own. Only one trial of a site is under way at a time in one directory.
struct Place {
    dir: PathBuf,
    schema: String,
    /// The file that is locked. While a trial is under way it names the schema: so the next one knows what is left of one that was killed.
    lock: File,
    lock_path: PathBuf,
}

impl Place {
    /// Makes them. What a trial that was killed has left is removed first; what none has made is never touched.
    async fn make(scratch: &Scratch, site: &SiteName, cancel: &CancellationToken) -> Result<Self, RestoreError> {
        let dir = scratch.dir.join(format!("wp-backup-agent-trial-{site}"));
        let lock_path = scratch.dir.join(format!("wp-backup-agent-trial-{site}.lock"));
        let state = |action| RepositoryError::state(action, &lock_path);
        let mut lock = open_lock(&lock_path).map_err(state("opening"))?;
        lock_file(&lock, site, &lock_path)?;
        let mut before = String::new();
        (&mut lock).take(1024).read_to_string(&mut before).map_err(state("reading"))?;
        if is_of_a_trial(&before) {
            drop_schema(&scratch.database, &before, cancel.clone()).await?;
            block_in_place(|| remove_dir(&dir)).map_err(RepositoryError::state("removing", &dir))?;
        }
        let schema = format!("{SCHEMA_START}{}", random_hex());
        note(&lock, &schema).map_err(state("writing"))?;
        let made = fs::DirBuilder::new().mode(0o700).create(&dir);
        if let Err(error) = made {
            note(&lock, "").map_err(state("writing"))?;
            return Err(RepositoryError::state("making", &dir)(error).into());
        }
        Ok(Self { dir, schema, lock, lock_path })
    }

    /// Removes them, also when the trial was cancelled.
    async fn remove(self, scratch: &Scratch) -> Result<(), RestoreError> {
        let dropped = drop_schema(&scratch.database, &self.schema, CancellationToken::new()).await;
        let removed = block_in_place(|| remove_dir(&self.dir));
        dropped?;
        removed.map_err(RepositoryError::state("removing", &self.dir))?;
        Ok(note(&self.lock, "").map_err(RepositoryError::state("writing", &self.lock_path))?)
    }
}

/// Opens the file, or makes it; never through a link that someone has put there, nor one that is another's.
fn open_lock(path: &Path) -> io::Result<File> {
    let no_link = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let lock =
        File::options().create(true).truncate(false).read(true).write(true).mode(0o600).custom_flags(no_link).open(path)?;
    let metadata = lock.metadata()?;
    if metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw() && metadata.nlink() == 1 {
        Ok(lock)
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is another user's, or no plain file"))
    }
}

/// Makes this the file's content, durably.
fn note(file: &File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.sync_all()
}

/// Whether this is the name of a schema that a trial makes.
fn is_of_a_trial(schema: &str) -> bool {
    let end = schema.strip_prefix(SCHEMA_START);
    end.is_some_and(|end| end.len() == 16 && end.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Removes a directory with all in it, also where it holds directories that even their owner may not write to.
fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => return removed,
    }
    for entry in walkdir::WalkDir::new(dir).follow_root_links(false).into_iter().filter_entry(|entry| {
        if entry.file_type().is_dir() {
            // Where this fails, the removal says so.
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
        }
        true
    }) {
        entry?;
    }
    fs::remove_dir_all(dir)
}

impl Restore {
    /// Refuses a directory that has no room for the snapshot's files.
    fn find_room(&self, dir: &Path) -> Result<(), RestoreError> {
        let trees = self.manifest.trees.iter().map(|tree| tree.bytes);
        let needed = trees.fold(self.manifest.counts.file_bytes, u64::saturating_add);
        let stat = rustix::fs::statvfs(dir).map_err(|error| RepositoryError::state("looking at", dir)(error.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < needed {
            return Err(RestoreError::NoRoom { dir: ByteText::from(dir.as_os_str().as_bytes()), needed, free });
        }
        Ok(())
    }

    /// Restores everything to this place, and reads it back; what differs, in words.
    async fn try_in(mut self, place: &Place, scratch: &Scratch) -> Result<(Tried, Vec<String>), RestoreError> {
        let mut tried = Tried { snapshot: self.path.clone(), seq: self.manifest.seq, ..Tried::default() };
        let mut differences = Vec::new();
        let trees = self.manifest.trees.iter().map(|tree| Some(tree.name));
        for tree in std::iter::once(None).chain(trees).collect::<Vec<_>>() {
            self.try_files(place, tree, &mut tried, &mut differences).await?;
        }
        self.try_database(place, scratch, &mut tried, &mut differences).await?;
        Ok((tried, differences))
    }

    async fn try_files(
        &mut self,
        place: &Place,
        tree: Option<TreeName>,
        tried: &mut Tried,
        differences: &mut Vec<String>,
    ) -> Result<(), RestoreError> {
        let name = tree.map_or("wp-content", TreeName::as_str);
        let target = place.dir.join(name);
        let restored = self.files_into(&target, tree, TargetOptions::default()).await?;
        tried.files += restored.stats.files;
        tried.bytes = tried.bytes.saturating_add(restored.stats.bytes);
        // What this account may not set isn't compared.
        if restored.stats.owners_not_set > 0 {
            tried.not_compared.push(format!(
                "{name}: mode, owner and time of each entry, as {} owners can't be set: run it as root",
                restored.stats.owners_not_set
            ));
        }
        if restored.stats.xattrs_not_set > 0 {
            let count = restored.stats.xattrs_not_set;
            tried.not_compared.push(format!(
                "{name}: mode, owner and time of each entry, as the extended attributes of {count} can't be set here"
            ));
        }
        let told = Arc::new(Mutex::new((0u64, Vec::new())));
        let heard = Arc::clone(&told);
        let unset = restored.stats.owners_not_set + restored.stats.xattrs_not_set > 0;
        let options = TargetOptions {
            overwrite: true,
            dry_run: true,
            checksum: true,
            tell: Some(Box::new(move |action, path| {
                let what = match action {
                    Action::Keep => return,
                    Action::Metadata if unset => return,
                    Action::Create => "it is not there after the restore",
                    Action::Replace => "its content is another after the restore",
                    _ => "its mode, owner or time is another after the restore",
                };
                let mut told = heard.lock().unwrap_or_else(PoisonError::into_inner);
                told.0 += 1;
                if told.1.len() < TOLD {
                    told.1.push(format!("{name}/{path}: {what}"));
                }
            })),
            ..TargetOptions::default()
        };
        self.files_into(&target, tree, options).await?;
        let (count, first) = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
        if count > first.len() as u64 {
            differences.push(format!("{name}: {count} entries differ after the restore; the first of them follow"));
        }
        differences.extend(first);
        Ok(())
    }

    async fn try_database(
        &mut self,
        place: &Place,
        scratch: &Scratch,
        tried: &mut Tried,
        differences: &mut Vec<String>,
    ) -> Result<(), RestoreError> {
        let (settings, all) = (&scratch.database, Selection::default());
        let crossing = Crossing::to(settings, &self.manifest, self.cancel.clone()).await?;
        let load =
            LoadOptions { connections: scratch.connections, existing: Existing::Refuse, names: None, definer: Definer::Drop };
        let mut loader = Loader::open(settings, &place.schema, load, self.cancel.clone()).await?;
        let mut expected = Fingerprint::default();
        let fed = self.feed(&mut loader, crossing, &all, not_an_event, &mut |entry| expected.add(entry)).await;
        let tables = match fed {
            Ok(tables) => tables,
            Err(error) => {
                loader.abandon().await;
                return Err(error);
            }
        };
        loader.finish().await?;
        (tried.tables, tried.rows) = (tables.tables, tables.rows);
        let found = Fingerprint::of(settings, &place.schema, self.progress.as_ref(), self.cancel.clone()).await?;
        // Another server shows the same definition in other words.
        let same = Vendor::ask(settings, self.cancel.clone()).await? == Vendor::of(&self.manifest.server.version);
        if !same {
            tried
                .not_compared
                .push("definitions of tables and views: the server is of another version than the site's".to_owned());
        }
        tried.not_compared.push("events: they were not made, as the server would run them".to_owned());
        let differ = expected.differences(&found, same);
        if differ.len() > TOLD {
            differences.push(format!("database: {} objects differ after the restore; the first of them follow", differ.len()));
        }
        differences.extend(differ.into_iter().take(TOLD).map(|what| format!("database: {what}")));
        Ok(())
    }
}

/// An event of the scratch schema might be about the site's own.
fn not_an_event(item: TableItem) -> bool {
    item != TableItem::Event
}
