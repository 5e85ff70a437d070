package main_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// tool is a program or library and how to learn its version, which is the first
// thing in the command's output that looks like one.
type tool struct {
	name, debian string
	version      []string
}

func (c client) version(t *testing.T, l *lab) string {
	t.Helper()
	looks := regexp.MustCompile(`\d+\.\d+(\.\d+)?(p\d+)?`)
	var all []string
	for _, tool := range c.tools {
		argv := tool.version
		if argv == nil {
			argv = []string{l.gogit, "version"}
		}
		out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
		found := looks.FindString(string(out))
		if err != nil || found == "" {
			t.Fatalf("%s is missing: run packaging/setup.sh test, or install the Debian package %s (%v: %s)", tool.name, tool.debian, err, out)
		}
		all = append(all, strings.TrimSpace(tool.name+" "+found))
	}
	return strings.Join(all, ", ")
}

func gitClone(_ *trial, url string) []string { return []string{"git", "clone", "--quiet", url, "work"} }

func gitTag(_ *trial, name string) []string {
	return []string{"git", "-C", "work", "push", "--quiet", "origin", "HEAD:refs/tags/" + name}
}

// lfsTag pushes a large file under the tag, and clones it again.
func lfsTag(_ *trial, name string) []string {
	return []string{"sh", "-ec", `
		git lfs install --skip-repo
		cd work
		git lfs track '*.bin'
		echo "large file of $0" >a.bin
		git add .
		git -c user.name=x -c user.email=x@example.com commit --quiet --message large
		git push --quiet origin "HEAD:refs/tags/$0"
		git clone --quiet --branch "$0" "$(git remote get-url origin)" ../again
		cmp a.bin ../again/a.bin`, name}
}

func withoutPorts(text string) string {
	return regexp.MustCompile(`(?m)^\[(.*?)\]:\d+ `).ReplaceAllString(text, "$1 ")
}

// Debian's jgit does not find two of its libraries by itself.
const jgitClasspath = "JGIT_CLASSPATH=/usr/share/java/org.eclipse.jgit.lfs.jar:/usr/share/java/org.eclipse.jgit.http.apache.jar"

func jgit() tool {
	return tool{"JGit", "jgit-cli and default-jre-headless", []string{"env", jgitClasspath, "jgit", "version"}}
}

// A life of a second is not worth the optimising compiler.
const javaBrief = "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

func jgitClone(_ *trial, url string) []string { return []string{"jgit", "clone", url, "work"} }

func jgitTag(_ *trial, name string) []string {
	return []string{"jgit", "--git-dir", "work/.git", "push", "origin", "HEAD:refs/tags/" + name}
}

// debianPython is the one that Debian's Python packages are for.
const debianPython = "/usr/bin/python3"

func python(name, debian, imports string) tool {
	return tool{name, debian, []string{debianPython, "-c", "import " + imports}}
}

// libgit2 asks the library itself: pygit2 tells what it was built with.
func libgit2() tool {
	return python("libgit2", "python3-pygit2", `ctypes.util
version = [ctypes.c_int() for _ in range(3)]
ctypes.CDLL(ctypes.util.find_library("git2")).git_libgit2_version(*map(ctypes.byref, version))
print(*[n.value for n in version], sep=".")`)
}

func dulwich() tool {
	return python("dulwich", "python3-dulwich", "dulwich; print(*dulwich.__version__, sep='.')")
}

func paramiko() tool {
	return python("paramiko", "python3-paramiko", "paramiko; print(paramiko.__version__)")
}

// program is one of testdata/clients with its first arguments.
type program []string

func script(args ...string) program { return args }

func (p program) call(r *trial, args ...string) []string {
	argv := append([]string{debianPython, r.lab.dir + "/clients/" + p[0]}, p[1:]...)
	return append(argv, args...)
}

func (p program) clone(r *trial, url string) []string { return p.call(r, "clone", url, "work") }
func (p program) tag(r *trial, name string) []string  { return p.call(r, "tag", "work", name) }
