package kube

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
)

// ParseProduct is parseProduct, for tests.
var ParseProduct = parseProduct

// Differs compares an object with what was rendered.
func Differs(o render.Object, live metav1.Object) (bool, error) {
	got, err := compare(o, live)
	return !got.Clean(), err
}
