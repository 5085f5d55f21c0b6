# checksum.sh FILE: writes FILE.sha256 beside it; tells sum and size.
set -eu
cd "$(dirname "$1")"
file=$(basename "$1")
sha256sum "$file" >"$file.sha256"
read -r sum _ <"$file.sha256"
bytes=$(wc -c <"$file")
echo "$file has $bytes bytes, sha256 $sum"
echo "{\"retval\": {\"sha256\": \"$sum\", \"bytes\": $bytes}}" >"$KSER_RESULT_FILE"
