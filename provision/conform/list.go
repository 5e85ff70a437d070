package conform

import (
	"fmt"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func listCases() []testCase {
	return []testCase{
		{name: "list in pages", run: listPages},
		{name: "list that loses a key", run: func(b *bench) { listChanges(b, false) }},
		{name: "list that loses and gets a key", run: func(b *bench) { listChanges(b, true) }},
		{name: "list is left early", run: listLeft},
		{name: "list of nothing", run: listNothing},
		{name: "list after a passing trouble", run: listRecovers},
		{name: "list twice from one sequence", run: listTwice},
		{name: "find by the key", run: findKey},
	}
}

func listPages(b *bench) {
	for i := range 17 {
		b.addForeign(b.repo, fmt.Sprintf("key %d", i))
	}
	mine := b.register(b.request())
	all := b.list(b.repo)
	if len(all) != 19 {
		b.Fatalf("lists %d keys, want 19", len(all))
	}
	seen := map[string]bool{}
	for _, r := range all {
		if seen[r.ID] || r.ID == "" || r.Key.IsZero() || r.Title == "" || r.Access != provision.Read || r.Created.IsZero() {
			b.Errorf("lists %+v", r)
		}
		seen[r.ID] = true
	}
	if !seen[mine.ID] {
		b.Error("our own key is missing")
	}
	for _, k := range b.foreign {
		if !seen[k.ID] {
			b.Errorf("%q is missing", k.Title)
		}
	}
}

// listChanges has somebody else take a key away that is on the first page, and
// perhaps add one at the end, while the list is read. Where pages are counted,
// the keys that follow move up, and one of them past the reader.
func listChanges(b *bench, another bool) {
	leaves := b.sim.AddKey(b.repo, "leaves", newKey(b), provision.Read)
	for i := range 7 {
		b.addForeign(b.repo, fmt.Sprintf("stays %d", i))
	}
	seen := map[string]bool{}
	for r, err := range b.forge.List(b.Context(), b.target) {
		if err != nil {
			b.Fatal(err)
		}
		if len(seen) == 0 {
			if !b.sim.DeleteKey(b.repo, leaves.ID) {
				b.Fatal("the key is not there")
			}
			if another {
				b.addForeign(b.repo, "newcomer")
			}
		}
		seen[r.ID] = true
	}
	for _, k := range b.foreign {
		if !seen[k.ID] && k.Title != "newcomer" {
			b.Errorf("%q was there all the time and is missing", k.Title)
		}
	}
}

func listLeft(b *bench) {
	for i := range 8 {
		b.addForeign(b.repo, fmt.Sprintf("key %d", i))
	}
	for _, err := range b.forge.List(b.Context(), b.target) {
		if err != nil {
			b.Fatal(err)
		}
		break
	}
	if n := b.requests(forgesim.OpList); n != 1 {
		b.Errorf("%d pages were read for one key", n)
	}
}

func listNothing(b *bench) {
	if all := b.list(b.addRepository("list-of-nothing-at-all")); len(all) != 0 {
		b.Errorf("lists %+v", all)
	}
}

func listRecovers(b *bench) {
	for _, fault := range []forgesim.FaultName{forgesim.HTMLBadGateway, forgesim.CutBefore, forgesim.TruncatedReply, forgesim.ErrorBefore} {
		b.sim.Inject(forgesim.Fault{Name: fault, Op: forgesim.OpList, Times: 1})
		if all := b.list(b.repo); len(all) != 1 {
			b.Errorf("after %s: lists %+v", fault, all)
		}
	}
}

func listTwice(b *bench) {
	for i := range 4 {
		b.addForeign(b.repo, fmt.Sprintf("key %d", i))
	}
	sequence := b.forge.List(b.Context(), b.target)
	for range 2 {
		n := 0
		for _, err := range sequence {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 5 {
			b.Errorf("lists %d keys, want 5", n)
		}
	}
}

func findKey(b *bench) {
	for i := range 7 {
		b.addForeign(b.repo, fmt.Sprintf("key %d", i))
	}
	made := b.register(b.request())
	found, ok, err := provision.Find(b.Context(), b.forge, b.target, made.Key)
	if err != nil || !ok || found != made {
		b.Errorf("finds %+v, %v, %v; want %+v", found, ok, err, made)
	}
	if found, ok, err := provision.Find(b.Context(), b.forge, b.target, newKey(b)); err != nil || ok {
		b.Errorf("finds %+v, %v, %v for a key that is nowhere", found, ok, err)
	}
}
