# From samples to medians and ratios: ours over the best of the others; lower is better.
def median: sort | if length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def row: {what: .[0].what, seconds: (map(.seconds) | median), least: (map(.seconds) | min), most: (map(.seconds) | max),
  cpu: (map(.cpu) | median), server_cpu: (map(.server_cpu) | median), rss_mib: (map(.rss_mib) | max), bytes: .[0].bytes};
# What it cost the machine altogether, which other load changes less than the time that it took.
def work: .cpu + .server_cpu;
def restores: test("restore|mariadb$|myloader");
def best(rows; cost): [rows | select(.what | startswith("ours") | not) | cost] | min;
def over($best): if $best then . / $best else null end;

group_by(.what) | map(row) as $rows
| [$rows[] | select(.what | restores)] as $loaded
| [$rows[] | select(.what | restores | not)] as $dumped
| ([$dumped, $loaded] | map(best(.[]; .seconds) as $seconds | best(.[]; work) as $work
    | .[] | . + {ratio: (.seconds | over($seconds)), work_ratio: (work | over($work))})) as $rows
| def of($what): [$rows[] | select(.what == $what)][0];
{
  ratios: {first_dump: of("ours: first dump").ratio, unchanged: of("ours: unchanged night").ratio, restore: of("ours: restore").ratio},
  cpu_ratios: {first_dump: of("ours: first dump").work_ratio, unchanged: of("ours: unchanged night").work_ratio,
    restore: of("ours: restore").work_ratio},
  peak_rss_mib: ([$rows[] | select(.what | startswith("ours")) | .rss_mib] | max),
  day_share: ($day[0].day.bytes / $day[0].first),
  unchanged_bytes: $day[0].unchanged,
  scale: $scale,
  runs: $runs,
  seconds: ($rows | map({key: .what, value: .seconds}) | from_entries),
  rows: ($rows | sort_by((.what | restores), .what))
}
