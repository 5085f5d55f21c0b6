# prune.sh FOLDER KEEP: deletes all but the newest KEEP backups (the name of one begins with its night); tells what went.
set -eu
cd "$1"
kept=0
removed=
for file in $(ls -r -- *.dump.gz); do
	if [ "$kept" -lt "$2" ]; then
		kept=$((kept + 1))
	else
		rm -f -- "$file" "$file.sha256"
		echo "removed $file"
		removed="$removed${removed:+, }\"$file\""
	fi
done
echo "{\"retval\": {\"kept\": $kept, \"removed\": [$removed]}}" >"$KSER_RESULT_FILE"
