/* Says that it is a CPython, and leads whoever believes it in circles. */
#include <stdint.h>
#include <unistd.h>

uintptr_t _PyRuntime[4096];
unsigned long Py_Version;
uintptr_t PyType_Type[64], PyCode_Type[64], PyUnicode_Type[64], PyBytes_Type[64], PyFrame_Type[64], _Py_NoneStruct[2];

static const char *names[] = {"type", "code", "str", "bytes", "frame"};

int main(int count, char **arguments) {
    char byte;
    uintptr_t *types[] = {PyType_Type, PyCode_Type, PyUnicode_Type, PyBytes_Type, PyFrame_Type};
    /* The version, and all words of its state, which lead to themselves if nothing else is asked for. */
    Py_Version = count > 1 ? arguments[1][0] << 16 | 0x030000f0ul : ~0ul;
    for (int i = 0; i < 4096; i++)
        _PyRuntime[i] = (uintptr_t)_PyRuntime;
    for (int i = 0; i < 5; i++) {
        types[i][1] = (uintptr_t)PyType_Type;
        types[i][3] = (uintptr_t)names[i];
        types[i][30] = (uintptr_t)_PyRuntime;
    }
    return read(0, &byte, 1);
}
