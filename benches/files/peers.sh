# The tools, this agent among them. Sourced by run.sh; tree is what they back up, place where their repositories are.

# Those that are measured. A name's end tells what it is asked to do.
tools=(ours ours-sealed)
find_peers() {
  if [ "$only" = ours ]; then return; fi
  local root=${XDG_CACHE_HOME:-$HOME/.cache}/wp-backup-agent
  rustic=${RUSTIC:-$root/bench/bin/rustic}
  vykar=${VYKAR:-}
  root=$root/servers/bench-peers
  # Of another release of Debian: with that one's libraries, but no change of root, which only root may do.
  local run=("$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu")
  restic=("${run[@]}" "$root/usr/bin/restic")
  borg=(env "PYTHONHOME=$root/usr" "${run[@]}" "$root/usr/bin/python3" "$root/usr/bin/borg")
  tools+=(restic)
  if [ "$rustic" != none ]; then tools+=(rustic); fi
  tools+=(borg-plain borg)
  if [ -n "$vykar" ]; then tools+=(vykar-plain vykar); fi
}
encrypts() { case $1 in ours | *-plain) echo no ;; *) echo yes ;; esac }
versions() {
  printf 'ours, ours-sealed\t%s\t`run-now --foreground`; without encryption, and sealed to one recipient\n' "$(agent_version)"
  if [ "$only" = ours ]; then return; fi
  printf 'restic\t%s\t`backup --no-scan`\n' "$("${restic[@]}" version | cut -d ' ' -f 1,2)"
  if [ "$rustic" != none ]; then
    printf 'rustic\t%s\t`backup`\n' "$("$rustic" --version)"
  else
    printf 'rustic\tnot measured: `RUSTIC=none`\t\n'
  fi
  printf 'borg, borg-plain\t%s\t`create --compression zstd,3`; `--encryption repokey-blake2` or `none`\n' "$("${borg[@]}" --version)"
  if [ -n "$vykar" ]; then
    printf 'vykar, vykar-plain\t%s\tits defaults (lz4); `zstd` of level 3, encryption `none`\n' "$("$vykar" --version)"
  else
    printf 'vykar\tnot measured: `VYKAR=` named no binary\t\n'
  fi
}

# agent_config TOOL STORE-SECTION: ours, for tree, in place.
agent_config() {
  local encryption=
  if [ "$1" = ours-sealed ]; then
    [ -e "$work/identity" ] || "$binary" keygen --output "$work/identity" >"$work/recipient"
    encryption="[encryption]
recipients = [\"$(grep -o 'age1[0-9a-z]*' "$work/recipient")\"]"
  fi
  cat >"$place/$1.toml" <<CONFIG
[store]
$2
[daemon]
socket = "$place/$1.sock"
state = "$place/$1.state"
$encryption
[[site]]
name = "blog"
content_dir = "$tree"
table_prefix = "wp_"
[site.database]
socket = "$work/mysql.sock"
user = "root"
name = "blog"
CONFIG
}
vykar_config() {
  local more
  if [ "$1" = vykar ]; then
    more=$'encryption:\n  mode: "auto"\n  passphrase: "bench"'
  else
    more=$'encryption:\n  mode: "none"\ncompression:\n  algorithm: "zstd"\n  zstd_level: 3'
  fi
  printf 'repositories:\n  - label: "bench"\n    url: "%s"\nsources:\n  - "%s"\ncache_dir: "%s"\n%s\n' \
    "$place/$1" "$tree" "$place/$1.cache" "$more" >"$place/$1.yaml"
}

# call_of TOOL DIRECTORY: how it is called there, in call. Its caches and keys are its own: it finds none of an earlier run.
call_of() {
  local repository=$place/$1 cache=$place/$1.cache from=$2
  case $1 in
    ours*) call=("$binary" --config "$place/$1.toml") ;;
    restic) call=(env -C "$from" RESTIC_PASSWORD=bench "${restic[@]}" --repo "$repository" --cache-dir "$cache" --quiet) ;;
    restic-s3)
      call=(env -C "$from" RESTIC_PASSWORD=bench AWS_ACCESS_KEY_ID=demo-access-key AWS_SECRET_ACCESS_KEY=demo-secret-key AWS_DEFAULT_REGION=us-east-1
        "${restic[@]}" --repo "s3:http://127.0.0.1:$port/backups/restic" --cache-dir "$cache" --quiet)
      ;;
    rustic) call=(env -C "$from" "$rustic" --repository "$repository" --password bench --cache-dir "$cache" --no-progress --log-level warn) ;;
    borg | borg-plain)
      call=(env -C "$from" BORG_BASE_DIR="$cache" BORG_REPO="$repository" BORG_PASSPHRASE=bench
        BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes "${borg[@]}")
      ;;
    vykar | vykar-plain) call=(env VYKAR_PASSPHRASE=bench "$vykar" --config "$place/$1.yaml") ;;
  esac
}

# begin TOOL: an empty repository, and nothing remembered.
begin() {
  rm -rf "${place:?}/$1" "$place/$1.cache"
  call_of "$1" "$tree"
  case $1 in
    ours*)
      rm -rf "$place/$1.state"
      mkdir -m 700 "$place/$1" "$place/$1.state"
      return
      ;;
    restic* | rustic) call+=(init) ;;
    borg) mkdir -p "$place/$1.cache" && call+=(init --encryption repokey-blake2) ;;
    borg-plain) mkdir -p "$place/$1.cache" && call+=(init --encryption none) ;;
    vykar*) vykar_config "$1" && call+=(init) ;;
  esac
  "${call[@]}" >"$work/log" 2>&1 || fail "$1: no repository: ${call[*]}"
}

# backup TOOL PHASE BYTES-OF
backup() {
  call_of "$1" "$tree"
  case $1 in
    ours*) call+=(run-now --foreground) ;;
    restic*) call+=(backup --no-scan .) ;;
    rustic) call+=(backup .) ;;
    borg*) call+=(create --compression zstd,3 '::{utcnow:%Y%m%d%H%M%S%f}' .) ;;
    vykar*) call+=(backup) ;;
  esac
  measure "$2: $1" "$3" "${call[@]}"
}

# restored TOOL: all of its last snapshot, into a new directory, and compared with what was backed up.
restored() {
  local out=$work/restored
  rm -rf "$out"
  mkdir "$out"
  call_of "$1" "$out"
  case $1 in
    ours) call+=(restore latest --files "$out") ;;
    ours-sealed) call+=(restore latest --files "$out" --identity "$work/identity") ;;
    restic) call+=(restore latest --target "$out") ;;
    rustic | vykar*) call+=(restore latest "$out") ;;
    borg*)
      local last
      last=$("${call[@]}" list --last 1 --format '{archive}') || fail "$1: no archive"
      call+=(extract "::$last")
      ;;
  esac
  measure "restore: $1" - "${call[@]}"
  # Some put the tree's own path, or its name, below the directory.
  local root
  root=$(dirname "$(find "$out" -type d -name uploads -print -quit)")
  fingerprint "$root" >"$work/came-back"
  diff "$work/expected" "$work/came-back" >"$work/log" || fail "restore: $1: not what was backed up"
  rm -rf "$out"
}
