package custody

import (
	"slices"
	"testing"
)

func TestSwapAreas(t *testing.T) {
	const heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	cases := []struct {
		text string
		want []string
	}{
		{"", nil},
		{heading, nil},
		{heading + "/dev/sda2                               partition\t1048572\t\t0\t\t-2\n", []string{"/dev/sda2"}},
		{heading + "/dev/zram0 partition 1 0 100\n/swap\\040file file 2 0 -2\n", []string{"/dev/zram0", `/swap\040file`}},
	}
	for _, c := range cases {
		if got := swapAreas(c.text); !slices.Equal(got, c.want) {
			t.Errorf("%q gives %q", c.text, got)
		}
	}
}

func TestStatusNumber(t *testing.T) {
	if n, err := statusNumber("VmRSS"); err != nil || n == 0 {
		t.Errorf("VmRSS is %d, %v", n, err)
	}
	if _, err := statusNumber("VmNothing"); err == nil {
		t.Error("a field that is not there has a value")
	}
}
