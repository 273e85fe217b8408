# What the benchmarks' reports share. Sourced by the report.sh of each, with load and runs in the environment.

decimal() { awk -v value="$1" -v digits="$2" 'BEGIN { printf "%.*f", digits, value }'; }
machine() {
  printf '%s\n' "Measured on $(date -u +%Y-%m-%d): $(nproc) cores ($(lscpu | sed -n 's/^Model name: *//p' | head -n 1)), $(awk '/^MemTotal/ { printf "%d GiB of memory", $2 / 1048576 }' /proc/meminfo), $(. /etc/os-release && echo "$PRETTY_NAME"); load before: $load, after: $(cut -d ' ' -f 1-3 /proc/loadavg). Medians of $runs."
}
# put NAME FRAGMENT DOCUMENT: FRAGMENT comes between DOCUMENT's markers of `make NAME`.
put() {
  local name=$1 fragment=$2 document=$3
  awk -v fragment="$fragment" -v begin="<!-- begin: make $name -->" -v end="<!-- end: make $name -->" '
    index($0, begin) { print; print ""; while ((getline line < fragment) > 0) print line; print ""; skip = 1; next }
    index($0, end) { skip = 0 }
    !skip' "$document" >"$fragment.document"
  cat "$fragment.document" >"$document"
}
