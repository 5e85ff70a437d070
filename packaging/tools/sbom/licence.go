package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// licenceFiles are the names under which modules keep their licence.
func licenceFiles() []string {
	return []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING"}
}

// licenceOf finds a module's licence: its SPDX identifier, and every text that
// has to go along with the binary.
func licenceOf(path string, dirs map[string]string) (id, text string, err error) {
	dir, known := dirs[path]
	if !known {
		return "", "", fmt.Errorf("%s is in the binary and not in the list of modules: make the list of the same source", path)
	}
	for _, name := range licenceFiles() {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", "", err
		}
		text = string(content)
		break
	}
	if id = identify(text); id == "" {
		return "", "", fmt.Errorf("%s: no licence in %s that this program knows: add it to licence.go when it allows shipping", path, dir)
	}
	notice, err := os.ReadFile(filepath.Join(dir, "NOTICE"))
	switch {
	case err == nil: // the Apache licence, 4 (d), wants it shown
		text += "\n" + string(notice)
	case !errors.Is(err, fs.ErrNotExist):
		return "", "", err
	}
	return id, text, nil
}

// identify names a licence by sentences that only it has, or "".
func identify(text string) string {
	words := strings.Join(strings.Fields(strings.ToLower(text)), " ")
	has := func(sentence string) bool { return strings.Contains(words, sentence) }
	switch {
	case has("apache license version 2.0, january 2004"):
		return "Apache-2.0"
	case has("mozilla public license, version 2.0"), has("mozilla public license version 2.0"):
		return "MPL-2.0"
	case has("permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files"):
		return "MIT"
	case has("redistribution and use in source and binary forms, with or without modification, are permitted") && has("neither the name of"):
		return "BSD-3-Clause"
	case has("redistribution and use in source and binary forms, with or without modification, are permitted"):
		return "BSD-2-Clause"
	case has("this software is provided 'as-is', without any express or implied warranty") && has("must not be misrepresented"):
		return "Zlib"
	}
	return ""
}

// notices is the text that goes along with the binary: what each module in it
// asks to be shown.
func (inv *inventory) notices() string {
	var b strings.Builder
	fmt.Fprintf(&b, "The %s program contains the following software.\n", inv.main.path)
	for _, m := range inv.modules {
		name := m.path
		if name == "std" {
			name = "the Go standard library and runtime"
		}
		fmt.Fprintf(&b, "\n%s\n%s %s (%s)\n", strings.Repeat("=", 80), name, m.version, m.licence)
		if m.licence == "MPL-2.0" { // section 3.2 (a)
			fmt.Fprintf(&b, "Source code: https://%s at %s\n", m.path, m.version)
		}
		fmt.Fprintf(&b, "%s\n\n%s\n", strings.Repeat("=", 80), strings.TrimSpace(m.text))
	}
	return b.String()
}
