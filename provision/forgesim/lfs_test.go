package forgesim_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// needLFS fails a test on a machine without git-lfs.
func needLFS(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git-lfs"); err != nil {
		t.Fatal("git-lfs is missing: install the Debian package git-lfs")
	}
}

// lfsAnswer is what git-lfs-authenticate says.
type lfsAnswer struct {
	Href      string            `json:"href"`
	Header    map[string]string `json:"header"`
	ExpiresIn int               `json:"expires_in"`
	ExpiresAt string            `json:"expires_at"`
}

// authenticateLFS asks for the way to the HTTP side.
func authenticateLFS(t *testing.T, c client, f *forgesim.Forge, operation string) lfsAnswer {
	t.Helper()
	out, err := c.run(t, f, sshArgs(f, "git-lfs-authenticate /acme/api.git "+operation)...)
	if err != nil {
		t.Fatal(out)
	}
	var a lfsAnswer
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return a
}

// TestLFS pushes and pulls a large file with real git-lfs.
func TestLFS(t *testing.T) {
	needLFS(t)
	for _, k := range kinds() {
		t.Run(string(k), func(t *testing.T) {
			f := startOne(t, k)
			writer, reader := newClient(t), newClient(t)
			f.AddKey("acme/api", "w", writer.public, provision.Write)
			f.AddKey("acme/api", "r", reader.public, provision.Read)
			content := bytes.Repeat([]byte("large file\n"), 50_000)
			must := func(c client, args ...string) string {
				t.Helper()
				out, err := c.run(t, f, args...)
				if err != nil {
					t.Fatalf("%v: %s", args, out)
				}
				return out
			}
			url := f.SSH().CloneURL("acme/api")
			must(writer, "git", "lfs", "install", "--skip-repo")
			must(writer, "git", "clone", "-q", url, "work")
			must(writer, "git", "-C", "work", "lfs", "track", "*.bin")
			if err := os.WriteFile(filepath.Join(writer.dir, "work", "a.bin"), content, 0o600); err != nil {
				t.Fatal(err)
			}
			must(writer, "git", "-C", "work", "add", ".")
			must(writer, "git", "-C", "work", "commit", "-qm", "large")
			must(writer, "git", "-C", "work", "push", "origin", "HEAD:main")
			sum := sha256.Sum256(content)
			oid := hex.EncodeToString(sum[:])
			kept, err := os.ReadFile(filepath.Join(f.GitDir("acme/api"), "lfs", "objects", oid[:2], oid[2:4], oid))
			if err != nil || !bytes.Equal(kept, content) {
				t.Fatalf("the forge has %d bytes, %v", len(kept), err)
			}
			must(reader, "git", "lfs", "install", "--skip-repo")
			must(reader, "git", "clone", "-q", url, "work")
			got, err := os.ReadFile(filepath.Join(reader.dir, "work", "a.bin"))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("the clone has %d bytes, %v", len(got), err)
			}
			must(writer, "git", "-C", "work", "lfs", "push", "--all", "origin", "main") // there already
			checkLFSTraffic(t, f)
			if out, err := reader.run(t, f, "git", "-C", "work", "lfs", "push", "--all", "origin", "main"); err == nil || strings.Contains(out, "panic") {
				t.Errorf("a reader pushes: %s", out)
			}
		})
	}
}

// checkLFSTraffic checks that git-lfs tried its own transfer over SSH and fell
// back, and moved the object once each way.
func checkLFSTraffic(t *testing.T, f *forgesim.Forge) {
	t.Helper()
	verbs := map[string]int{}
	for _, c := range f.Commands() {
		verb, _, _ := strings.Cut(c.Line, " ")
		verbs[verb]++
	}
	if verbs["git-lfs-transfer"] == 0 || verbs["git-lfs-authenticate"] == 0 {
		t.Errorf("commands %v", verbs)
	}
	methods := map[string]int{}
	for _, r := range f.Requests() {
		if r.Repository != "acme/api" || r.Status != http.StatusOK || !strings.HasPrefix(r.Path, "/acme/api.git/info/lfs/") {
			t.Errorf("request %+v", r)
		}
		if strings.Contains(r.Path, "/objects/") && !strings.HasSuffix(r.Path, "/batch") {
			methods[r.Method]++
		}
	}
	if methods["PUT"] != 1 || methods["GET"] != 1 {
		t.Errorf("transfers %v", methods)
	}
}

func TestLFSAuthenticate(t *testing.T) {
	for k, want := range map[provision.Kind]struct {
		scheme string
		life   int
	}{provision.Gitea: {"Bearer ", 0}, provision.GitHub: {"RemoteAuth ", 600}, provision.BitbucketCloud: {"JWT ", 600}} {
		f := startOne(t, k)
		c := newClient(t)
		f.AddKey("acme/api", "x", c.public, provision.Read)
		a := authenticateLFS(t, c, f, "download")
		if a.Href != f.URL()+"/acme/api.git/info/lfs" || !strings.HasPrefix(a.Header["Authorization"], want.scheme) || a.ExpiresIn != want.life {
			t.Errorf("%s: %+v", k, a)
		}
		if at, err := time.Parse(time.RFC3339, a.ExpiresAt); want.life > 0 && (err != nil || time.Until(at) < 9*time.Minute) || want.life == 0 && a.ExpiresAt != "" {
			t.Errorf("%s: expires_at %q", k, a.ExpiresAt)
		}
	}
}

// TestLFSOverHTTP checks what the HTTP side refuses.
func TestLFSOverHTTP(t *testing.T) {
	f := startOne(t, provision.GitHub)
	writer, reader := newClient(t), newClient(t)
	f.AddKey("acme/api", "w", writer.public, provision.Write)
	f.AddKey("acme/api", "r", reader.public, provision.Read)
	up, down := authenticateLFS(t, writer, f, "upload"), authenticateLFS(t, reader, f, "download")
	content := "some content"
	sum := sha256.Sum256([]byte(content))
	oid := hex.EncodeToString(sum[:])
	absent := strings.Repeat("0", 64)
	const root, json = "/acme/api.git/info/lfs", "application/vnd.git-lfs+json"
	batch := func(who lfsAnswer, body string) request {
		return request{method: "POST", path: root + "/objects/batch", body: body, header: map[string]string{
			"Accept": json, "Content-Type": json + "; charset=utf-8", "Authorization": who.Header["Authorization"],
		}}
	}
	with := func(r request, name, value string) request { r.header[name] = value; return r }
	object := func(who lfsAnswer, method, id, body string) request {
		return request{method: method, path: root + "/objects/" + id, body: body, header: map[string]string{"Authorization": who.Header["Authorization"]}}
	}
	download := `{"operation": "download", "objects": [{"oid": "` + oid + `", "size": 12}]}`
	upload := `{"operation": "upload", "transfers": ["ssh", "basic"], "hash_algo": "sha256", "later": true, "objects": [{"oid": "` + oid + `", "size": 12}]}`
	elsewhere := batch(down, download)
	elsewhere.path = "/acme/web.git/info/lfs/objects/batch"
	_, admin := f.Credential()
	c := own(t)
	for _, step := range []struct {
		name    string
		request request
		status  int
		words   string
	}{
		{"nothing there", batch(down, download), 200, `"error":{"code":404,"message":"Object does not exist"}`},
		{"get nothing", object(down, "GET", oid, ""), 404, "Object does not exist"},
		{"upload by a reader", batch(down, upload), 403, "message"},
		{"upload", batch(up, upload), 200, `"actions":{"upload":{"href":"` + f.URL() + root + "/objects/" + oid + `"`},
		{"put by a reader", object(down, "PUT", oid, content), 403, "message"},
		{"put something else", object(up, "PUT", oid, content+"x"), 422, "SHA-256"},
		{"still nothing there", object(down, "GET", oid, ""), 404, ""},
		{"put", object(up, "PUT", oid, content), 200, ""},
		{"put again", object(up, "PUT", oid, content), 200, ""},
		{"upload what is there", batch(up, upload), 200, `"objects":[{"oid":"` + oid + `","size":12}]`},
		{"download", batch(down, download), 200, `"authenticated":true,"actions":{"download":`},
		{"wrong size", batch(down, strings.Replace(download, "12}", "13}", 1)), 200, `"code":404`},
		{"get", object(down, "GET", oid, ""), 200, content},
		{"resume", with(object(down, "GET", oid, ""), "Range", "bytes=5-"), 206, "content"},
		{"delete", object(up, "DELETE", oid, ""), 405, ""},
		{"no hash", batch(down, `{"operation": "download", "objects": [{"oid": "../../config", "size": 1}]}`), 200, `"code":422`},
		{"negative size", batch(up, `{"operation": "upload", "objects": [{"oid": "`+absent+`", "size": -1}]}`), 200, `"code":422`},
		{"no name of an object", object(down, "GET", "config", ""), 404, "Not found"},
		{"locks", with(request{method: "POST", path: root + "/locks/verify", body: "{}", header: map[string]string{}}, "Authorization", up.Header["Authorization"]), 200, `{"ours":[],"theirs":[]}`},
		{"unknown", object(down, "GET", oid+"/x", ""), 404, ""},
		{"no credential", with(batch(down, download), "Authorization", ""), 401, "Credentials needed"},
		{"API token", with(batch(down, download), "Authorization", "Bearer "+admin), 401, "Credentials needed"},
		{"another repository", elsewhere, 404, "Not found"},
		{"accept", with(batch(down, download), "Accept", "application/json"), 406, json},
		{"type", with(batch(down, download), "Content-Type", "application/json"), 415, json},
		{"operation", batch(down, `{"operation": "delete"}`), 422, "delete"},
		{"adapter", batch(down, `{"operation": "download", "transfers": ["ssh"]}`), 422, "basic"},
		{"hash", batch(down, `{"operation": "download", "hash_algo": "sha512"}`), 409, "sha256"},
		{"not JSON", batch(down, `{"operation"`), 422, "message"},
		{"large", batch(down, `{"operation": "`+strings.Repeat("x", 1<<20)+`"}`), 422, "message"},
	} {
		a, err := try(t, f, c, step.request)
		if err != nil || a.status != step.status || !strings.Contains(a.body, step.words) {
			t.Errorf("%s: %d %.300s, %v; want %d and %q", step.name, a.status, a.body, err, step.status, step.words)
		}
		if a.status == http.StatusUnauthorized && a.header.Get("LFS-Authenticate") == "" {
			t.Errorf("%s: headers %v", step.name, a.header)
		}
	}
	entries, err := os.ReadDir(filepath.Join(f.GitDir("acme/api"), "lfs", "objects", oid[:2], oid[2:4]))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

// TestArchive gets files from a repository without a clone of it.
func TestArchive(t *testing.T) {
	f := start(t, forgesim.Options{Kinds: []provision.Kind{provision.BitbucketCloud}}).Forge(provision.BitbucketCloud)
	if err := f.AddRepository("acme/api", forgesim.RepositoryOptions{Files: map[string]string{"dir/a file": "text"}}); err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	f.AddKey("acme/api", "x", c.public, provision.Read)
	for path, want := range map[string]string{"acme/api": "text", "/acme/api": "text", "ACME/API": "text"} {
		url := f.SSH().String() + "/" + strings.TrimPrefix(path, "/") + ".git"
		if out, err := c.run(t, f, "git", "archive", "--format=tar", "-o", "x.tar", "--remote="+url, "--prefix=p/", "v1.0.0", "dir"); err != nil {
			t.Fatal(out)
		}
		if got := untar(t, filepath.Join(c.dir, "x.tar"))["p/dir/a file"]; got != want {
			t.Errorf("%s: the archive has %q", path, got)
		}
	}
}

// untar returns the files of an archive.
func untar(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(text)
	}
}
