#!/usr/bin/env bash
# report.sh WORK JSON DOCUMENT: medians and ratios of WORK/samples, on the terminal, in JSON, and between DOCUMENT's markers.
# From run.sh: scale, runs, only, load, versions (lines of "name<tab>version<tab>how it is called") in the environment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$1 json=$2 document=$3
# shellcheck source=benches/document.sh
source "$here/../document.sh"

jq -s --argjson scale "$scale" --argjson runs "$runs" --slurpfile encrypts "$work/encrypts" --slurpfile requests "$work/requests" \
  --slurpfile grown "$work/grown" -f "$here/report.jq" "$work/samples" >"$work/report"
jq 'del(.rows)' "$work/report" >"$json"

{
  machine
  printf '\n| | version | called with |\n|---|---|---|\n'
  while IFS=$'\t' read -r name version called; do printf '| %s | %s | %s |\n' "$name" "$version" "${called:-}"; done <<<"$versions"
  printf '\n| | | encrypts | runs | × the fastest other | seconds (least to most) | CPU seconds | peak MiB | MB written | requests |\n|---|---|---|--:|--:|--:|--:|--:|--:|--:|\n'
  jq -r '.rows[] | [.phase, .tool, .encrypts, .runs, .ratio, .seconds, .least, .most, .cpu, .rss_mib, (.written // 0) / 1e6, .requests]
    | map(if . == null then "-" else tostring end) | @tsv' "$work/report" |
    while IFS=$'\t' read -r phase tool encrypts count ratio seconds least most cpu rss written requests; do
      printf '| %s | %s | %s | %s | %s | %s (%s–%s) | %s | %s | %s | %s |\n' "$phase" "$tool" "${encrypts#-}" "$count" \
        "$([ "$ratio" = - ] || decimal "$ratio" 2)" "$(decimal "$seconds" 2)" "$(decimal "$least" 2)" "$(decimal "$most" 2)" \
        "$(decimal "$cpu" 1)" "$(decimal "$rss" 0)" "$([ "$written" = 0 ] || decimal "$written" 0)" "${requests#-}"
    done
  printf '\n| what is asked for | at most | measured |\n|---|--:|--:|\n'
  jq -r '[["first run, beside the fastest other", 0.4, .ratios.first_run],
      ["its CPU, beside the fastest other'"'"'s", 0.4, .ratios.first_run_cpu],
      ["its CPU, beside the least of all others", "-", .ratios.first_run_cpu_least],
      ["first run, sealed, beside the fastest other", 0.5, .ratios.first_run_sealed],
      ["nothing changed, beside the fastest other", 0.5, .ratios.unchanged],
      ["nothing changed, sealed, beside the fastest other", 0.5, .ratios.unchanged_sealed],
      ["nothing changed, beside a walk by find", 4, .ratios.unchanged_over_walk],
      ["a blog'"'"'s day, beside the fastest other", "-", .ratios.day],
      ["restore, beside the fastest other", 1, .ratios.restore],
      ["restore, sealed, beside the fastest other", "-", .ratios.restore_sealed],
      ["first run to S3, beside restic", 1, .ratios.s3_first_run],
      ["nothing changed, to S3, beside restic", 1, .ratios.s3_unchanged],
      ["peak memory, MiB", 128, .peak_rss_mib],
      ["peak memory at a million files, MiB", 128, .peak_rss_mib_1m],
      ["requests when nothing changed", 3, .requests_unchanged]][]
      | map(if type == "number" then . * 1000 | round / 1000 else . end) | "| \(.[0]) | \(.[1]) | \(.[2] // "not measured") |"' "$work/report"
} >"$work/fragment"
cat "$work/fragment"
echo
cat "$json"

if [ "$scale" = 1 ] && [ "$only" = all ]; then
  put bench-files "$work/fragment" "$document"
fi
