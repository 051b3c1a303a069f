#!/bin/sh
# Makes a release for each of several devices, and gathers what a job keeps of it. POSIX sh.
#
#   MODEL=google/gemma-3-1b-it PROFILES="pixel-8 macbook-m3-pro iphone-15-pro" sh samples/ci/release.sh
#
# MODEL         what to export; unset: the sample
# PROFILES      devices, by name or as a .toml file, with blanks between them
# OUTPUT        directory of the releases                                         (release)
# REPORTS       directory that gets plan.json, every report and manifest         (reports)
# GEMMA_EXPORT  the command                                                       (gemma-export)
# PLAN_ONLY     1: say what would be made and the key for a cache, and stop there
#
# Arguments are handed on to the export. The exit code is gemma-export's: docs/ci.md says what each means.
set -eu

: "${GEMMA_EXPORT:=gemma-export}"
: "${PROFILES:=pixel-8 macbook-m3-pro iphone-15-pro}"
: "${OUTPUT:=release}"
: "${REPORTS:=reports}"

# (1) The plan: devices, recipes, and a key that changes with whatever would change the bytes. It is given those
# of the arguments that plans take.
plan() {
  left=$# taken=0
  while [ "$left" -gt 0 ]; do
    given=$1 left=$((left - 1))
    shift
    if [ "$taken" = 1 ]; then
      set -- "$@" "$given"
      taken=0
      continue
    fi
    case "$given" in
      --adapter | --recipe | --context | --format | --components | --image-tokens) set -- "$@" "$given" && taken=1 ;;
      --adapter=* | --recipe=* | --context=* | --format=* | --components=* | --image-tokens=*) set -- "$@" "$given" ;;
    esac
  done
  set -- plan --json "$@"
  if [ -n "${MODEL:-}" ]; then set -- "$@" --model "$MODEL"; fi
  for profile in $PROFILES; do set -- "$@" --profile "$profile"; done
  "$GEMMA_EXPORT" "$@"
}

# Of all arguments, and of what is in those that are files: calibration text, say.
of_arguments() {
  for given in "$@"; do
    printf '%s\n' "$given"
    if [ -f "$given" ]; then cat "$given"; fi
  done | cksum | tr ' ' '-'
}

mkdir -p "$REPORTS"
planned=0
plan "$@" > "$REPORTS/plan.json" || planned=$?
if [ "$planned" -gt 1 ]; then # 1: on some device nothing fits, which the export says
  if [ -n "${GITHUB_OUTPUT:-}" ]; then echo "exit-code=$planned" >> "$GITHUB_OUTPUT"; fi
  exit "$planned"
fi
key=$(sed -n 's/^  "cache_key": "\([^"]*\)".*/\1/p' "$REPORTS/plan.json")
if [ $# -gt 0 ]; then key=$key-$(of_arguments "$@"); fi
echo "cache key: $key"
if [ -n "${GITHUB_OUTPUT:-}" ]; then echo "cache-key=$key" >> "$GITHUB_OUTPUT"; fi
if [ "${PLAN_ONLY:-}" = 1 ]; then exit 0; fi

# (2) The releases. A line appears as each step ends; failing gates become ::error:: lines, and reports go to
# $GITHUB_STEP_SUMMARY, where those are set.
if [ -n "${MODEL:-}" ]; then set -- "$@" --model "$MODEL"; fi
for profile in $PROFILES; do set -- "$@" --profile "$profile"; done
code=0
"$GEMMA_EXPORT" "$@" --output "$OUTPUT" || code=$?

# (3) Reports and manifests, of what was held back too: DIR.failed.
for directory in "$OUTPUT" "$OUTPUT".failed "$OUTPUT"/*; do
  if [ ! -f "$directory/report.json" ]; then continue; fi
  kept="$REPORTS/$(basename "$directory")"
  mkdir -p "$kept"
  for name in report.html report.json report.md junit.xml manifest.json; do
    if [ -f "$directory/$name" ]; then cp "$directory/$name" "$kept/"; fi
  done
done

if [ -n "${GITHUB_OUTPUT:-}" ]; then echo "exit-code=$code" >> "$GITHUB_OUTPUT"; fi
exit "$code"
