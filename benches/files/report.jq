# From samples to medians and ratios: ours over the fastest of the others; lower is better.
def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def over($best): if . and $best then . / $best else null end;

# `what` is "PHASE: TOOL". The idle database server's work is part of ours.
map(. + {phase: (.what | split(": ")[0]), tool: (.what | split(": ")[1])}
  | if .tool | startswith("ours") then .cpu += .server_cpu else . end)
| [group_by(.what)[] | {what: .[0].what, phase: .[0].phase, tool: .[0].tool, encrypts: $encrypts[0][.[0].tool],
    runs: length, seconds: (map(.seconds) | median), least: (map(.seconds) | min), most: (map(.seconds) | max),
    cpu: (map(.cpu) | median), rss_mib: (map(.rss_mib) | max), bytes: .[0].bytes}] as $rows
| ($requests | map({key: .what, value: .requests}) | from_entries) as $requests
| ($grown | group_by(.what) | map({key: .[0].what, value: (map(.grown) | median)}) | from_entries) as $grown
| [$rows[] | . as $row
    | [$rows[] | select(.phase == $row.phase and (.tool | startswith("ours") | not))] as $others
    | . + {ratio: (if .phase == "walk" then null else .seconds | over([$others[].seconds] | min) end), requests: $requests[.what],
        written: ($grown[.what] // .bytes)}] as $rows
| def of($phase; $tool): [$rows[] | select(.phase == $phase and .tool == $tool)][0];
  def others($phase): [$rows[] | select(.phase == $phase and (.tool | startswith("ours") | not))];
  def peak($small): [$rows[] | select((.tool | startswith("ours")) and ((.phase | startswith("small files")) == $small)) | .rss_mib] | max;
  def order: . as $phase | ["first run", "nothing changed", "walk", "a blog's day", "restore"] | index($phase) // 9;
{
  ratios: {
    first_run: of("first run"; "ours").ratio,
    first_run_cpu: (of("first run"; "ours").cpu | over(others("first run") | min_by(.seconds) | .cpu)),
    first_run_cpu_least: (of("first run"; "ours").cpu | over([others("first run")[].cpu] | min)),
    first_run_sealed: of("first run"; "ours-sealed").ratio,
    unchanged: of("nothing changed"; "ours").ratio,
    unchanged_sealed: of("nothing changed"; "ours-sealed").ratio,
    day: of("a blog's day"; "ours").ratio,
    restore: of("restore"; "ours").ratio,
    restore_sealed: of("restore"; "ours-sealed").ratio,
    unchanged_over_walk: (of("nothing changed"; "ours").seconds | over(of("walk"; "find -fprintf").seconds)),
    s3_first_run: of("S3, first run"; "ours").ratio,
    s3_unchanged: of("S3, nothing changed"; "ours").ratio
  },
  peak_rss_mib: peak(false),
  peak_rss_mib_1m: peak(true),
  requests_unchanged: of("S3, nothing changed"; "ours").requests,
  scale: $scale,
  runs: $runs,
  seconds: ($rows | map({key: .what, value: .seconds}) | from_entries),
  cpu_seconds: ($rows | map({key: .what, value: .cpu}) | from_entries),
  rows: ($rows | sort_by((.phase | order), .phase, .seconds))
}
