package main

import (
	"encoding/hex"
	"fmt"
	"time"
)

// What follows is the part of CycloneDX 1.5 that is used here
// (https://cyclonedx.org/docs/1.5/json/).

type document struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Licences   []licence  `json:"licenses"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type licence struct {
	Licence spdx `json:"license"`
}

type spdx struct {
	ID string `json:"id"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// document describes the binary. The Go linker records which modules are in,
// not which needs which, so that all are named as dependencies of the binary.
func (inv *inventory) document() document {
	root := inv.main.component("application", inv.version)
	// Our module is on no module proxy: a name there would be somebody else's.
	root.PURL = fmt.Sprintf("pkg:generic/%s@%s", inv.main.path, inv.version)
	root.Ref = root.PURL
	root.Hashes = []hash{{"SHA-256", hex.EncodeToString(inv.digest[:])}}
	for _, name := range []string{"go", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "CGO_ENABLED"} {
		if value, set := inv.settings[name]; set {
			root.Properties = append(root.Properties, property{"deploykeyd:build:" + name, value})
		}
	}
	d := document{
		Format: "CycloneDX", SpecVersion: "1.5", SerialNumber: inv.serial(), Version: 1,
		Metadata:     metadata{Timestamp: inv.time.Format(time.RFC3339), Component: root},
		Dependencies: []dependency{{Ref: root.Ref}},
	}
	for _, m := range inv.modules {
		c := m.component("library", m.version)
		if m.sum != "" { // the hash of a module's file list: no hash of any one file
			c.Properties = []property{{"deploykeyd:go.sum", m.sum}}
		}
		d.Components = append(d.Components, c)
		d.Dependencies[0].DependsOn = append(d.Dependencies[0].DependsOn, c.Ref)
		d.Dependencies = append(d.Dependencies, dependency{Ref: c.Ref, DependsOn: []string{}})
	}
	return d
}

func (m module) component(kind, version string) component {
	purl := fmt.Sprintf("pkg:golang/%s@%s", m.path, version)
	return component{
		Type: kind, Ref: purl, Name: m.path, Version: version, PURL: purl,
		Licences: []licence{{spdx{m.licence}}},
	}
}

// serial is a UUID of the kind that is made from given bytes (RFC 9562, version
// 8): the same binary has the same.
func (inv *inventory) serial() string {
	u := inv.digest
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}
