#!/bin/bash
case ${1:-} in
--configuration-revision) echo '@revision@' ;;
--hash | --revision) echo none ;;
--json) echo '{"configurationRevision":"@revision@","nixosVersion":"@version@"}' ;;
*) echo '@version@ (lab)' ;;
esac
