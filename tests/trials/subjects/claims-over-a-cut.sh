#!/usr/bin/env bash
# Takes a lost connection for the end of a deploy that went well.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

go || [ "$?" = 255 ]
