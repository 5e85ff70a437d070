// Package forgesim owns a stand-in for git forges: the HTTP dialects of Gitea,
// GitHub and Bitbucket Cloud over one model of repositories, keys and
// credentials, and an SSH server that admits exactly the registered keys and
// runs real git. Faults are injected by name.
//
// It is for tests and for trying a configuration on one machine. It is strict
// about requests where a real forge is lenient, so that what works here works
// there. It listens on loopback addresses only unless told otherwise, never
// reaches out to a network, and never sees a client's private key.
//
// # Credentials
//
// A Token is long-lived. Two exchanges give short-lived ones, which expire by
// the forge's own clock, faults included:
//
//   - GitHub: an App finds its installation on an organization's or user's account
//     or on a repository, and exchanges a JWT for an installation access token. Its
//     signature (RS256) and the claims iss, iat and exp are checked, permissions
//     and repositories are narrowed on request, a deleted installation takes its
//     tokens along and a suspended one refuses them. The other endpoints of Apps
//     are not modelled. Where GitHub is said to bear clocks that differ a little,
//     and to take organizations for users, this stand-in does not. The words for a
//     permission that is requested at too high a level, and for a JWT without an
//     issuer that is known, are the nearest that reports quote.
//   - Bitbucket Cloud: an OAuth consumer gets an access token for itself. Other
//     grants and refresh tokens are not modelled. Refusals are as reports quote
//     them: 400 with unauthorized_client for a wrong secret, where RFC 6749 has
//     401 and invalid_client. Atlassian says that any change of a consumer
//     invalidates the deploy keys that were added through it, and not how that
//     shows: here the keys stay on the list and SSH no longer knows them.
//
// Exchanges do not count against the limits of what they give.
//
// # SSH
//
// The SSH side runs git-upload-pack and git-receive-pack, and git-upload-archive
// where the forge does; which forms of a path name a repository is each forge's
// own. It answers git-lfs-authenticate with the way to an HTTP side that speaks
// git-lfs's batch API and basic transfers and keeps objects where git-lfs does,
// in the bare repository. That answer serves for ten minutes, even after its key
// is gone. Locks, API tokens as a login there, and faults on that side are not
// modelled. git-lfs-transfer is refused, so that git-lfs falls back.
package forgesim
