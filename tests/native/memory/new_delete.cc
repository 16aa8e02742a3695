// Known allocations by C++: each form of new and delete, and one that cannot be had.
#include <cstdint>
#include <new>

struct Plain {
    char bytes[1000];
};

struct alignas(256) Aligned {
    char bytes[2048];
};

template <typename Kind>
static void use() {
    for (int i = 0; i < 23; i++) {
        Kind *volatile block = new Kind;
        if (reinterpret_cast<std::uintptr_t>(block) % alignof(Kind)) throw 1;
        delete block;
        Kind *volatile quiet = new (std::nothrow) Kind;
        delete quiet;
    }
}

int main() {
    use<Plain>();
    use<Aligned>();
    char *volatile many = new char[1000];
    delete[] many;
    try {
        char *volatile block = new char[static_cast<std::size_t>(-1) / 4];
        delete[] block;
    } catch (const std::bad_alloc &) {
        return 0;
    }
    return 9;
}
