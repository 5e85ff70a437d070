module deploykeyd/provision/forgesim/compat

go 1.26.0

require (
	code.gitea.io/sdk/gitea v0.25.1
	deploykeyd v0.0.0
	github.com/google/go-cmp v0.7.0
	github.com/google/go-github/v89 v89.0.0
	golang.org/x/crypto v0.58.0
)

require (
	github.com/42wim/httpsig v1.2.4 // indirect
	github.com/davidmz/go-pageant v1.0.2 // indirect
	github.com/go-fed/httpsig v1.1.0 // indirect
	github.com/google/go-querystring v1.2.0 // indirect
	github.com/hashicorp/go-version v1.9.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace deploykeyd => ../../..
