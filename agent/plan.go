package agent

import "deploykeyd/provision"

// planKeys decides which keys carry which registrations on f. Each element
// shares one key: all repositories of a forge, or one alone where a public key
// may exist only once on the forge.
func planKeys(f Forge) [][]RepositoryAccess {
	if len(f.Repositories) == 0 {
		return nil
	}
	if !provision.TraitsOf(f.Kind).KeyPerRepository {
		return [][]RepositoryAccess{f.Repositories}
	}
	plan := make([][]RepositoryAccess, len(f.Repositories))
	for i := range f.Repositories {
		plan[i] = f.Repositories[i : i+1]
	}
	return plan
}
