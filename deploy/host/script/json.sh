# JSON in bodies.

# Whether bodies are JSON objects with the wanted keys and values: lines of a body's name and file, its wants, and `judge`
# → `good` and the name of each good one; `other`, name, key and text of one that is not of the system that runs. Only
# decides when to stop waiting; the checks read every body themselves.
judge_json() {
  awk -F '\t' '
    function unhex(s,   n, i) {
      n = 0
      for (i = 1; i <= length(s); i++) n = 16 * n + index("0123456789abcdef", tolower(substr(s, i, 1))) - 1
      return n
    }
    function utf8(n) {
      if (n == 0) return "\\u0000"
      if (n < 128) return sprintf("%c", n)
      if (n < 2048) return sprintf("%c%c", 192 + int(n / 64), 128 + n % 64)
      if (n < 65536) return sprintf("%c%c%c", 224 + int(n / 4096), 128 + int(n / 64) % 64, 128 + n % 64)
      return sprintf("%c%c%c%c", 240 + int(n / 262144), 128 + int(n / 4096) % 64, 128 + int(n / 64) % 64, 128 + n % 64)
    }
    function decode(s,   out, at, c, n, low) {
      out = ""
      while (at = index(s, "\\")) {
        out = out substr(s, 1, at - 1)
        c = substr(s, at + 1, 1)
        if (c != "u") {
          n = index("bfnrt", c)
          out = out (n ? substr("\b\f\n\r\t", n, 1) : c)
          s = substr(s, at + 2)
          continue
        }
        n = unhex(substr(s, at + 2, 4))
        s = substr(s, at + 6)
        low = substr(s, 1, 2) == "\\u" ? unhex(substr(s, 3, 4)) : 0
        if (n >= 55296 && n < 56320 && low >= 56320 && low < 57344) {
          n = 65536 + (n - 55296) * 1024 + low - 56320
          s = substr(s, 7)
        }
        out = out utf8(n)
      }
      return out s
    }
    function commit() {
      if (after_colon) {
        count[key]++
        value[key] = literal != "" ? "literal " literal : token
      }
      after_colon = 0
      token = literal = ""
    }
    function outside(seg,   j, c) {
      gsub(/[ \t\r\n]/, "", seg)
      for (j = 1; j <= length(seg); j++) {
        c = substr(seg, j, 1)
        if (c == "{" || c == "[") {
          if (depth == 0 && (c == "[" || objects++)) bad = 1
          if (depth++ == 1) token = "container"
        } else if (c == "}" || c == "]") {
          if (depth-- == 1) commit()
        } else if (depth == 1 && c == ":") {
          key = token
          token = literal = ""
          after_colon = 1
        } else if (depth == 1 && c == ",") commit()
        else if (depth == 0) bad = 1
        else if (depth == 1 && length(literal) < 400) literal = literal c
      }
    }
    function read_object(body,   n, i, j, inside, text) {
      split("", count)
      split("", value)
      bad = objects = depth = after_colon = inside = 0
      key = token = literal = text = ""
      n = split(body, part, "\"")
      for (i = 1; i <= n; i++) {
        if (!inside) {
          outside(part[i])
          inside = 1
          text = ""
          continue
        }
        # A longer text is none of the wanted ones, however it is spelled.
        if (depth == 1 && length(text) <= longest) text = text part[i]
        for (j = length(part[i]); j && substr(part[i], j, 1) == "\\"; j--);
        if ((length(part[i]) - j) % 2) {
          if (length(text) <= longest) text = text "\""
          continue
        }
        if (depth == 1) token = length(text) <= longest ? "text " decode(text) : "long"
        inside = 0
      }
      return !bad && objects == 1 && depth == 0 && inside
    }
    function matches(seen, want) {
      if (want ~ /^"/) return seen == "text " decode(substr(want, 2, length(want) - 2))
      if (want ~ /^[tf]/) return seen == "literal " want
      sub(/^literal /, "", seen)
      if (seen !~ /^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$/ || (seen ~ /[.eE]/) != (want ~ /[.eE]/)) return 0
      return want ~ /[.eE]/ ? seen + 0 == want + 0 : (seen == "-0" ? "0" : seen) == want
    }
    $1 == "file" { name = $2; file = $3; wanted = longest = 0; next }
    $1 == "want" || $1 == "of-system" {
      of_system[wanted + 1] = $1 == "of-system" ? $2 : ""
      keys[++wanted] = "text " decode(substr($2, 2, length($2) - 2))
      values[wanted] = $3
      if (longest < 12 * length($2) + 64) longest = 12 * length($2) + 64
      if (longest < 12 * length($3) + 64) longest = 12 * length($3) + 64
      next
    }
    $1 == "judge" {
      RS = "\001"
      body = more = ""
      getline body < file
      good = (getline more < file) <= 0 && read_object(body)
      close(file)
      RS = "\n"
      for (i = 1; i <= wanted; i++) {
        if (good && of_system[i] != "" && count[keys[i]] == 1 && value[keys[i]] ~ /^text [A-Za-z0-9@._+:\/=-]+$/ && !matches(value[keys[i]], values[i]))
          print "other", name, of_system[i], substr(value[keys[i]], 6, 100)
        matched = (i == 1 || matched) && count[keys[i]] == 1 && matches(value[keys[i]], values[i])
      }
      if (good && matched) print "good", name
    }'
}
