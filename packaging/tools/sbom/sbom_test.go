package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestIdentify(t *testing.T) {
	const bsd = "Redistribution and use in source and binary forms, with or without\nmodification, are permitted provided that"
	for _, tt := range []struct{ name, text, want string }{
		{"wrapped as it may be", "Apache License\n   Version 2.0,  January 2004", "Apache-2.0"},
		{"mozilla with a comma", "Mozilla Public License, version 2.0", "MPL-2.0"},
		{"mozilla without", "Mozilla Public License Version 2.0", "MPL-2.0"},
		{"mit without its title", "Permission is hereby granted, free of charge, to any person obtaining a copy\nof this software and associated documentation files", "MIT"},
		{"three clauses", bsd + " Neither the name of X", "BSD-3-Clause"},
		{"two clauses", bsd, "BSD-2-Clause"},
		{"zlib", "This software is provided 'as-is', without any express or implied warranty. The origin must not be misrepresented", "Zlib"},
		{"another", "GNU AFFERO GENERAL PUBLIC LICENSE Version 3", ""},
		{"none", "", ""},
	} {
		if got := identify(tt.text); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestReadDirs(t *testing.T) {
	dirs, err := readDirs(strings.NewReader("a.example/x /with a space/x\n\nstd /go\n"))
	if err != nil || dirs["a.example/x"] != "/with a space/x" || dirs["std"] != "/go" || len(dirs) != 2 {
		t.Errorf("%v, %v", dirs, err)
	}
	for _, bad := range []string{"alone", "nothing "} {
		if _, err := readDirs(strings.NewReader(bad)); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

// licensed makes a folder with a licence and, unless it is empty, a notice.
func licensed(t *testing.T, licence, notice string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"LICENSE": licence, "NOTICE": notice} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A test is a Go binary too.
func TestRunOnABinary(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	list := "deploykeyd/packaging/tools " + licensed(t, "Apache License Version 2.0, January 2004", "") +
		"\nstd " + licensed(t, "Mozilla Public License, version 2.0", "as noticed")
	var texts [2]string
	for i := range texts {
		sbom, notices := filepath.Join(t.TempDir(), "sbom"), filepath.Join(t.TempDir(), "notices")
		err := run([]string{"-version", "1.2.3", "-time", "1700000000", "-sbom", sbom, "-notices", notices, binary}, strings.NewReader(list))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{sbom, notices} {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[i] += string(text)
		}
	}
	if texts[0] != texts[1] {
		t.Error("the same binary gave two documents")
	}
	for _, want := range []string{
		`"bomFormat": "CycloneDX"`, `"timestamp": "2023-11-14T22:13:20Z"`, `"purl": "pkg:generic/deploykeyd/packaging/tools@1.2.3"`,
		`"purl": "pkg:golang/std@1.`, `"id": "MPL-2.0"`, "the Go standard library and runtime", "as noticed",
	} {
		if !strings.Contains(texts[0], want) {
			t.Errorf("no %s in\n%s", want, texts[0])
		}
	}
}

func TestRunRefuses(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	apache := licensed(t, "Apache License Version 2.0, January 2004", "")
	notGo := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(notGo, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	own, std := "deploykeyd/packaging/tools "+apache+"\n", "std "+apache+"\n"
	for _, tt := range []struct{ name, binary, modules, want string }{
		{"a module that the list lacks", binary, own, "std is in the binary and not in the list"},
		{"a licence that nobody read", binary, own + "std " + licensed(t, "All rights reserved.", ""), "no licence"},
		{"no licence", binary, std + "deploykeyd/packaging/tools " + t.TempDir(), "no licence"},
		{"another program", notGo, own + std, "unrecognized file format"},
	} {
		out := filepath.Join(t.TempDir(), "out")
		err := run([]string{"-version", "1", "-sbom", out, "-notices", out, tt.binary}, strings.NewReader(tt.modules))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: something was written", tt.name)
		}
	}
}

func TestDocument(t *testing.T) {
	inv := inventory{
		version: "1.2.3", time: time.Unix(0, 0).UTC(), digest: [32]byte{0xab, 6: 0xff, 8: 0xff},
		main: module{path: "deploykeyd", licence: "Apache-2.0"},
		modules: []module{
			{path: "std", version: "1.26.8", licence: "BSD-3-Clause"},
			{path: "a.example/x", version: "v1.0.0", sum: "h1:abc=", licence: "MIT"},
		},
		settings: map[string]string{"go": "go1.26.8", "GOARCH": "arm64", "-trimpath": "true"},
	}
	d := inv.document()
	if want := "urn:uuid:ab000000-0000-8f00-bf00-000000000000"; d.SerialNumber != want {
		t.Errorf("serial number %s, want %s", d.SerialNumber, want)
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"properties":[{"name":"deploykeyd:build:go","value":"go1.26.8"},{"name":"deploykeyd:build:GOARCH","value":"arm64"}]`,
		`"purl":"pkg:golang/a.example/x@v1.0.0","properties":[{"name":"deploykeyd:go.sum","value":"h1:abc="}]`,
		`{"ref":"pkg:generic/deploykeyd@1.2.3","dependsOn":["pkg:golang/std@1.26.8","pkg:golang/a.example/x@v1.0.0"]}`,
		`{"ref":"pkg:golang/a.example/x@v1.0.0","dependsOn":[]}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}
