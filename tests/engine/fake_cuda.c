/* Stands in for libcuda.so.1: the calls of trtbench/system/cuda.py. FAKE_CUDA_SM, FAKE_CUDA_GPUS and FAKE_CUDA_FREE_GIB say what it shows;
 * FAKE_CUDA_FAILS names a call that returns FAKE_CUDA_CODE, or CUDA_ERROR_UNKNOWN. FAKE_CUDA_UNLIKE: each GPU is a model of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static int result(const char *call) {
    const char *fails = getenv("FAKE_CUDA_FAILS");
    return fails && !strcmp(fails, call) ? number("FAKE_CUDA_CODE", 999) : 0;
}

/* As the real one: without a device that may be seen it is this call that fails, CUDA_ERROR_NO_DEVICE. */
int cuInit(unsigned flags) { (void)flags; return number("FAKE_CUDA_GPUS", 1) ? result("cuInit") : 100; }
int cuDeviceGetCount(int *count) { *count = number("FAKE_CUDA_GPUS", 1); return result("cuDeviceGetCount"); }
int cuDeviceGet(int *device, int index) { *device = index; return result("cuDeviceGet"); }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    int sm = number("FAKE_CUDA_SM", 90);
    (void)device;
    *value = attribute == 75 ? sm / 10 : attribute == 76 ? sm % 10 : -1;
    return result("cuDeviceGetAttribute");
}
int cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, (size_t)length, "Fake GPU %d", getenv("FAKE_CUDA_UNLIKE") ? device : 0);
    return result("cuDeviceGetName");
}
int cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, device, 16); return result("cuDeviceGetUuid_v2"); }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = malloc(1); (void)device; return result("cuDevicePrimaryCtxRetain"); }
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return result("cuDevicePrimaryCtxRelease_v2"); }
int cuCtxSetCurrent(void *context) { return context ? result("cuCtxSetCurrent") : 201; }
int cuMemGetInfo_v2(size_t *free, size_t *total) {
    *total = (size_t)80 << 30;
    *free = (size_t)number("FAKE_CUDA_FREE_GIB", 70) << 30;
    return result("cuMemGetInfo_v2");
}
