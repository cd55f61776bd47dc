#!@busybox@/bin/busybox sh
# shellcheck shell=dash disable=SC1091,SC2154
. @http@

page='<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>ChoirOS</title></head>
<body><h1>Log in to ChoirOS</h1><p>@node@ runs @version@.</p></body>
</html>
'

[ ! -e /etc/switchproof-lab/word-hypervisor ] || read -r word </etc/switchproof-lab/word-hypervisor

read_request
case $path in
/login) answer '200 OK' 'text/html; charset=utf-8' "$page" ;;
*) answer '303 See Other' 'text/plain' '' 'Location: /login' ;;
esac
