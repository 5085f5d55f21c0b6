# verify.sh FILE: the bytes are those that were summed, the archive is whole, and it holds tables with data; tells how many.
set -eu
cd "$(dirname "$1")"
file=$(basename "$1")
sha256sum --check --quiet "$file.sha256"
gzip --test "$file"
# Not in a pipe, which would hide the status of all but its last command.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gunzip --stdout "$file" >"$work/dump"
pg_restore --list "$work/dump" >"$work/list"
tables=$(grep -c ' TABLE DATA ' "$work/list") || {
	echo "$file holds no table" >&2
	exit 1
}
echo "$file is whole: $tables tables"
echo "{\"retval\": {\"tables\": $tables}}" >"$KSER_RESULT_FILE"
