package kube_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/moorage-dev/moorage/cluster/kube"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render/rendertest"
)

func TestEveryGoldenObjectIsAcceptedByTheServer(t *testing.T) {
	r := realCluster(t)
	dyn, err := dynamic.NewForConfig(r.Config())
	require.NoError(t, err)
	namespace := kube.Namespace(rendertest.Lease())
	_, err = r.Client().CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, r.Client().CoreV1().Namespaces().Delete(context.Background(), namespace, metav1.DeleteOptions{}))
	})
	docs, err := filepath.Glob("internal/render/testdata/*.yaml")
	require.NoError(t, err)
	count := 0
	for _, file := range docs {
		if strings.HasSuffix(file, ".out.yaml") {
			continue
		}
		in, err := rendertest.Input(file)
		require.NoError(t, err)
		objects, err := render.Render(rendertest.Options(file), in)
		require.NoError(t, err)
		for _, o := range objects {
			count++
			var resource dynamic.ResourceInterface = dyn.Resource(o.Kind.GroupVersionResource)
			if o.Namespace != "" {
				resource = dyn.Resource(o.Kind.GroupVersionResource).Namespace(o.Namespace)
			}
			_, err := resource.Patch(t.Context(), o.Name, types.ApplyPatchType, o.Body, metav1.PatchOptions{
				FieldManager: render.FieldManager, Force: new(true), FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll},
			})
			assert.NoError(t, err, "%s: %s", filepath.Base(file), o)
		}
	}
	assert.Greater(t, count, 150)
}
