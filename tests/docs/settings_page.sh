#!/bin/sh
# settings_page.sh BUILD [write]: compares docs/settings.md with what the programs' tables say, or writes it.
set -eu
page=$(dirname "$0")/../../docs/settings.md
generated=$(mktemp)
trap 'rm -f "$generated"' EXIT
{
	cat <<'END'
# Settings

Made from the programs' own tables; `tests/docs/settings_page.sh build/dev write` makes it again.

Each setting is a flag (`--name value` or `--name=value`; those of yes or no: `--name`, `--name=yes`, `--name=no`, never with a space), an environment variable and a key of the INI file that `--config FILE` or `KSER_CONFIG` names; the first
of these that is given counts, in this order, then the default. `--print-config` shows what a program would use and where it comes from.
A secret may also be read from the file that `NAME_FILE` names. Any property of librdkafka passes through: `--kafka.NAME=VALUE`, the section `[kafka]`, `KSER_KAFKA_NAME` with dots as underscores.

END
	"$1/tests/settings_page_orchestrator"
	echo
	"$1/tests/settings_page_worker"
} >"$generated"
if [ "${2:-}" = write ]; then
	cp "$generated" "$page"
else
	diff -u "$page" "$generated"
fi
