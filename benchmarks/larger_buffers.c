/* A Vulkan layer that reports a larger maxStorageBufferRange than the driver does.
 *
 * Mesa's lavapipe says 128 MiB, a constant, and copes with more: the head of Gemma 3 270M takes 160 MiB. For
 * measuring on a machine without a GPU only; a driver that means its limit would be made to fail.
 * Built and put before the driver by larger_buffers.py. Layer interface: the Vulkan loader's, version 2.
 */
#include <stdint.h>
#include <string.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#define EXPORT __attribute__((visibility("default")))
#define LARGEST (1u << 30)
#define MOST_INSTANCES 32

/* What is below this layer, for each instance. A physical device begins with its instance's dispatch table, as
 * every dispatchable handle does, and is told apart by it. */
static struct below {
    void *table;
    PFN_vkGetInstanceProcAddr next;
    PFN_vkGetPhysicalDeviceProperties properties;
    PFN_vkGetPhysicalDeviceProperties2 properties2;
} instances[MOST_INSTANCES];
static unsigned made;

static struct below *below(void *handle) {
    for (unsigned i = made; i-- > 0;)
        if (instances[i].table == *(void **)handle) return &instances[i];
    return NULL;
}

static void raise_limit(VkPhysicalDeviceProperties *found) {
    if (found->limits.maxStorageBufferRange < LARGEST) found->limits.maxStorageBufferRange = LARGEST;
}

static VKAPI_ATTR void VKAPI_CALL properties(VkPhysicalDevice device, VkPhysicalDeviceProperties *found) {
    below(device)->properties(device, found);
    raise_limit(found);
}

static VKAPI_ATTR void VKAPI_CALL properties2(VkPhysicalDevice device, VkPhysicalDeviceProperties2 *found) {
    below(device)->properties2(device, found);
    raise_limit(&found->properties);
}

static VKAPI_ATTR VkResult VKAPI_CALL create(const VkInstanceCreateInfo *info,
                                             const VkAllocationCallbacks *allocator, VkInstance *instance) {
    VkLayerInstanceCreateInfo *link = (VkLayerInstanceCreateInfo *)info->pNext;
    while (link && !(link->sType == VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO &&
                     link->function == VK_LAYER_LINK_INFO))
        link = (VkLayerInstanceCreateInfo *)link->pNext;
    if (!link || made == MOST_INSTANCES) return VK_ERROR_INITIALIZATION_FAILED;
    PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext; /* the next layer finds its own link first */
    VkResult result = ((PFN_vkCreateInstance)next(NULL, "vkCreateInstance"))(info, allocator, instance);
    if (result != VK_SUCCESS) return result;
    struct below *added = &instances[made++];
    added->table = *(void **)*instance;
    added->next = next;
    added->properties = (PFN_vkGetPhysicalDeviceProperties)next(*instance, "vkGetPhysicalDeviceProperties");
    added->properties2 = (PFN_vkGetPhysicalDeviceProperties2)next(*instance, "vkGetPhysicalDeviceProperties2");
    if (!added->properties2)
        added->properties2 =
            (PFN_vkGetPhysicalDeviceProperties2)next(*instance, "vkGetPhysicalDeviceProperties2KHR");
    return VK_SUCCESS;
}

EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance, const char *name) {
    if (!strcmp(name, "vkGetInstanceProcAddr")) return (PFN_vkVoidFunction)vkGetInstanceProcAddr;
    if (!strcmp(name, "vkCreateInstance")) return (PFN_vkVoidFunction)create;
    if (!strcmp(name, "vkGetPhysicalDeviceProperties")) return (PFN_vkVoidFunction)properties;
    if (!strcmp(name, "vkGetPhysicalDeviceProperties2") || !strcmp(name, "vkGetPhysicalDeviceProperties2KHR"))
        return (PFN_vkVoidFunction)properties2;
    struct below *found = instance ? below(instance) : NULL;
    return found ? found->next(instance, name) : NULL;
}
