#!/usr/bin/env bash
# report.sh WORK JSON DOCUMENT: medians and ratios of WORK/samples, on the terminal, in JSON, and between DOCUMENT's markers.
# From run.sh: scale, runs, only, versions (lines of "name<tab>version") in the environment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$1 json=$2 document=$3
# shellcheck source=benches/document.sh
source "$here/../document.sh"

jq -s --argjson scale "$scale" --argjson runs "$runs" --slurpfile day "$work/day" -f "$here/report.jq" "$work/samples" >"$work/report"
jq 'del(.rows)' "$work/report" >"$json"

{
  machine
  printf '\n| | version |\n|---|---|\n'
  while IFS=$'\t' read -r name version; do printf '| %s | %s |\n' "$name" "$version"; done <<<"$versions"
  printf '\n| | × the best other | seconds (least to most) | CPU seconds: its own, the server'"'"'s | peak MiB | MB written |\n|---|--:|--:|--:|--:|--:|\n'
  jq -r '.rows[] | [.what, .ratio // "", .seconds, .least, .most, .cpu, .server_cpu, .rss_mib, (.bytes // 0) / 1e6] | map(tostring | if . == "" then "-" else . end) | @tsv' "$work/report" |
    while IFS=$'\t' read -r what ratio seconds least most cpu server rss bytes; do
      printf '| %s | %s | %s (%s–%s) | %s, %s | %s | %s |\n' "${what//|/\\|}" "$([ "$ratio" = - ] || decimal "$ratio" 2)" "$(decimal "$seconds" 2)" \
        "$(decimal "$least" 2)" "$(decimal "$most" 2)" "$(decimal "$cpu" 1)" "$(decimal "$server" 1)" "$(decimal "$rss" 0)" \
        "$([ "$bytes" = 0 ] || decimal "$bytes" 0)"
    done
  printf '\n| what is asked for | at most | measured |\n|---|--:|--:|\n'
  jq -r '[["first dump, beside the best other", 0.9, .ratios.first_dump], ["unchanged night, beside the best other'"'"'s dump", 0.5, .ratios.unchanged],
      ["restore, beside the best other", 0.9, .ratios.restore], ["peak memory, MiB", 128, .peak_rss_mib],
      ["bytes uploaded after a blog'"'"'s day, of the first dump'"'"'s", 0.12, .day_share], ["bytes uploaded in an unchanged night", 0, .unchanged_bytes]][]
      | map(if type == "number" then . * 1000 | round / 1000 else . end) | "| \(.[0]) | \(.[1]) | \(.[2] // "not measured") |"' "$work/report"
} >"$work/fragment"
cat "$work/fragment"
echo
cat "$json"

if [ "$scale" = 1 ] && [ "$only" = all ]; then
  put bench-db "$work/fragment" "$document"
fi
