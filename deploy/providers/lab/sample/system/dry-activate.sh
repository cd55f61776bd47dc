#!/bin/bash
# Says what the activation script would do; this system's has nothing to say.
exit 0
