#!/bin/bash
# Says no, with a non-zero status, before anything is changed: pre-switch-check TOPLEVEL ACTION
exit 0
