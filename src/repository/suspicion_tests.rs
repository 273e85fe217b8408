use proptest::prelude::*;

use super::SuspicionKind::{CoreRowsFell, FilesFell, MassChange, PhpUnderUploads, RowsFell};
use super::*;

const SITE: Watched = Watched { files: 3000, media: 1000, media_php: 2, rows: 50_000, core_rows: 4000 };

fn base(was: Watched) -> Baseline {
    Baseline { seq: 7, started: Timestamp::UNIX_EPOCH, was, changed: 0, new_php: 0 }
}

fn kinds(suspect: &[Suspicion]) -> Vec<SuspicionKind> {
    suspect.iter().map(|suspicion| suspicion.kind).collect()
}

fn standing(seq: u64, watched: Watched, baseline: Option<Baseline>, suspect: Vec<Suspicion>) -> Standing {
    let named = Parent { key: format!("blog/snapshots/{seq}"), blake3: seq.to_string() };
    let started = Timestamp::UNIX_EPOCH;
    Standing { named, seq, signer: None, suspect, started, watched: Some(watched), baseline }
}

/// The snapshots after each other: what was counted of each, what changed, and whether it is accepted before the next.
fn chain(steps: &[(Watched, Changes, bool)]) -> Vec<Standing> {
    let mut all: Vec<Standing> = Vec::new();
    let mut accepted = None;
    for (seq, (watched, changes, accept)) in (1..).zip(steps) {
        let (baseline, carried) = all.last().map_or((None, Vec::new()), |before| before.next(accepted.as_ref()));
        let (baseline, suspect) = conclude(baseline, &carried, watched, Some(*changes), seq);
        let this = standing(seq, *watched, baseline, suspect);
        accepted = accept.then(|| this.clone());
        all.push(this);
    }
    all
}

#[test]
fn a_fall_to_less_than_half_is_suspect_and_a_few_are_not() {
    let judged = |was: Watched, now: Watched| kinds(&judge(&base(was), &now, 8));
    assert_eq!(judged(SITE, SITE), []);
    assert_eq!(judged(SITE, Watched { files: 1500, rows: 25_000, core_rows: 2000, ..SITE }), []);
    assert_eq!(judged(SITE, Watched { files: 1499, ..SITE }), [FilesFell]);
    assert_eq!(judged(SITE, Watched { rows: 24_999, ..SITE }), [RowsFell]);
    // A log that grows hides nothing.
    assert_eq!(judged(SITE, Watched { rows: 90_000, core_rows: 10, ..SITE }), [CoreRowsFell]);
    let small = Watched { files: 25, rows: 120, core_rows: 120, ..Watched::default() };
    assert_eq!(judged(small, Watched { files: 6, rows: 21, core_rows: 21, ..small }), []);
    assert_eq!(judged(small, Watched { files: 5, rows: 20, core_rows: 20, ..small }), [FilesFell, RowsFell, CoreRowsFell]);
    assert_eq!(judged(Watched::default(), SITE), []);
}

#[test]
fn new_code_and_a_mass_change_below_uploads_are_suspect() {
    let judged = |changed, new_php| kinds(&judge(&Baseline { changed, new_php, ..base(SITE) }, &SITE, 8));
    assert_eq!(judged(300, 0), []);
    assert_eq!(judged(301, 0), [MassChange]);
    assert_eq!(judged(0, 1), [PhpUnderUploads]);
    let few = Watched { media: 150, ..SITE };
    assert_eq!(judge(&Baseline { changed: 99, ..base(few) }, &few, 8), []);
    assert_eq!(kinds(&judge(&Baseline { changed: 100, ..base(few) }, &few, 8)), [MassChange]);
    let none = Watched { media: 0, ..SITE };
    assert_eq!(judge(&Baseline { changed: 5000, ..base(none) }, &none, 8), []);
}

#[test]
fn what_is_suspected_stays_until_it_is_accepted() {
    let quiet = Changes::default();
    let fell = Watched { files: 100, ..SITE };
    let php = Changes { changed: 0, new_php: 2 };
    let all = chain(&[
        (SITE, quiet, false),
        (fell, quiet, false),
        // Put back, but code has come: someone has to look.
        (SITE, php, false),
        (SITE, quiet, true),
        (SITE, quiet, false),
    ]);
    assert_eq!(
        all.iter().map(|one| kinds(&one.suspect)).collect::<Vec<_>>(),
        [vec![], vec![FilesFell], vec![FilesFell, PhpUnderUploads], vec![FilesFell, PhpUnderUploads], vec![]]
    );
    assert_eq!(all[3].suspect.iter().map(|one| one.since).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(all.iter().map(Standing::judged_against).collect::<Vec<_>>(), [None, Some(1), Some(1), Some(1), Some(4)]);
}

#[test]
fn a_slow_mass_change_adds_up_while_it_is_suspect() {
    let step = |changed| (SITE, Changes { changed, new_php: 0 }, false);
    let all = chain(&[step(0), (SITE, Changes { changed: 0, new_php: 1 }, false), step(150), step(160)]);
    assert_eq!(kinds(&all[2].suspect), [PhpUnderUploads]);
    assert_eq!(kinds(&all[3].suspect), [PhpUnderUploads, MassChange]);
    assert_eq!(all[3].suspect[1].is, 310);
}

#[test]
fn what_came_after_the_accepted_one_is_judged_by_it() {
    let fell = Watched { files: 1000, ..SITE };
    let changes = |changed, new_php| Changes { changed, new_php };
    let all = chain(&[(SITE, changes(0, 0), false), (fell, changes(500, 1), false), (fell, changes(5, 0), false)]);
    // The one before the last is accepted: nothing that came since is suspect.
    let (baseline, carried) = all[2].next(Some(&all[1]));
    assert_eq!(carried, []);
    let baseline = baseline.unwrap();
    assert_eq!((baseline.seq, baseline.changed, baseline.new_php), (2, 5, 0));
    // Where something came since, that stays suspect.
    let all = chain(&[(SITE, changes(0, 0), false), (fell, changes(0, 0), false), (fell, changes(0, 3), false)]);
    let (baseline, carried) = all[2].next(Some(&all[1]));
    assert_eq!((baseline.unwrap().new_php, kinds(&carried)), (3, vec![PhpUnderUploads]));
}

#[test]
fn without_a_parent_the_numbers_alone_are_compared() {
    let now = Watched { media: 600, media_php: 5, ..SITE };
    let (baseline, suspect) = conclude(Some(base(SITE)), &[], &now, None, 8);
    assert_eq!(kinds(&suspect), [PhpUnderUploads, MassChange]);
    assert_eq!((baseline.as_ref().unwrap().changed, baseline.unwrap().new_php), (400, 3));
    assert_eq!(conclude(None, &[], &now, None, 1), (None, vec![]));
}

#[test]
fn the_manifest_says_numbers_and_kinds_alone() {
    let suspicion = judge(&base(SITE), &Watched { files: 1, ..SITE }, 8);
    let text = serde_json::to_string(&suspicion).unwrap();
    assert_eq!(text, r#"[{"kind":"files-fell","was":3000,"is":1,"since":8}]"#);
    let text = serde_json::to_string(&base(SITE)).unwrap();
    assert_eq!(serde_json::from_str::<Baseline>(&text).unwrap(), base(SITE));
    let newer = r#"{"kind":"moon-phase","was":1,"is":2,"since":3}"#;
    assert_eq!(serde_json::from_str::<Suspicion>(newer).unwrap().kind, SuspicionKind::Unknown);
}

fn watched() -> impl Strategy<Value = Watched> {
    (0u64..5000, 0u64..5000, 0u64..20, 0u64..5000, 0u64..5000).prop_map(|(files, media, media_php, rows, core_rows)| Watched {
        files,
        media,
        media_php,
        rows,
        core_rows,
    })
}

fn changes() -> impl Strategy<Value = Changes> {
    (0u64..600, prop_oneof![4 => Just(0u64), 1 => 1u64..4]).prop_map(|(changed, new_php)| Changes { changed, new_php })
}

proptest! {
    #[test]
    fn losing_more_is_never_less_suspect(was in watched(), now in watched(), less in watched(), changed in 0u64..3000, more in 0u64..3000) {
        let lower = Watched {
            files: now.files.min(less.files),
            rows: now.rows.min(less.rows),
            core_rows: now.core_rows.min(less.core_rows),
            ..now
        };
        let worse = Baseline { changed: changed + more, ..base(was) };
        let before = kinds(&judge(&Baseline { changed, ..base(was) }, &now, 8));
        let after = kinds(&judge(&worse, &lower, 8));
        prop_assert!(before.iter().all(|kind| after.contains(kind)), "{:?} {:?}", before, after);
    }

    #[test]
    fn nothing_lost_and_nothing_changed_is_not_suspect(was in watched(), more in watched()) {
        let now = Watched {
            files: was.files + more.files,
            media: was.media + more.media,
            rows: was.rows + more.rows,
            core_rows: was.core_rows + more.core_rows,
            ..was
        };
        prop_assert_eq!(judge(&base(was), &now, 8), vec![]);
    }

    #[test]
    fn a_suspicion_goes_only_by_an_acceptance(steps in proptest::collection::vec((watched(), changes(), any::<bool>()), 1..12)) {
        let all = chain(&steps);
        for (at, pair) in all.windows(2).enumerate() {
            let (before, after) = (kinds(&pair[0].suspect), kinds(&pair[1].suspect));
            if before.is_empty() || steps[at].2 {
                prop_assert_eq!(pair[1].judged_against(), Some(pair[0].seq));
            } else {
                prop_assert!(before.iter().all(|kind| after.contains(kind)));
                prop_assert_eq!(pair[1].judged_against(), pair[0].judged_against());
            }
        }
    }
}
